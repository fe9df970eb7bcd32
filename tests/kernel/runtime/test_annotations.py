"""crun's annotations (crun(1), "Extensions to OCI")."""

from __future__ import annotations

import array
import base64
import json
import os
import socket
import struct
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import InLayout, Runtime

pytestmark = pytest.mark.needs("root", "busybox")


def annotate(bundle: Bundle, **values: str) -> None:
    """Set ``run.oci.*``; two underscores stand for a dot."""
    annotations = bundle.config.setdefault("annotations", {})
    annotations |= {f"run.oci.{name.replace('__', '.')}": value for name, value in values.items()}


@pytest.mark.parametrize(("value", "groups"), [("1", "0 4242"), ("0", "0")])
def test_the_callers_groups_are_kept(
    pyrun: Runtime, bundle: Bundle, value: str, groups: str
) -> None:
    bundle.shell("id -G")
    annotate(bundle, keep_original_groups=value)
    done = pyrun.run(bundle, extra_groups=[4242])
    assert (done.stdout.strip(), done.returncode) == (groups, 0)


def test_an_entered_process_keeps_the_callers_groups(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    annotate(bundle, keep_original_groups="1")
    name = pyrun.start(bundle)
    assert pyrun.call("exec", name, "id", "-G", extra_groups=[4242]).stdout.split() == ["0", "4242"]


def test_hooks_write_to_the_files(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    out.write_text("before\n")
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    for kind in kinds:
        bundle.hook(kind, tmp_path / kind, f"echo {kind}; echo {kind} >&2")
    (bundle.rootfs / "hook").write_text("#!/bin/sh\necho startContainer\n")
    (bundle.rootfs / "hook").chmod(0o755)
    bundle.config["hooks"]["startContainer"] = [{"path": "/hook"}]
    annotate(bundle, hooks__stdout=str(out), hooks__stderr=str(err))
    assert pyrun.run(bundle).returncode == 0
    assert out.read_text().split() == ["before", *kinds[:3], "startContainer", *kinds[3:]]
    assert err.read_text().split() == kinds


def test_a_file_for_hooks_that_cannot_be_opened_is_an_error(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.hook("prestart", tmp_path / "hook", "true")
    annotate(bundle, hooks__stdout="/nosuch/file")
    done = pyrun.run(bundle)
    assert (done.returncode, "/nosuch/file for hooks" in done.stderr) == (1, True)
    assert pyrun.left(pyrun.ids[-1]) == []


@pytest.mark.needs("time_namespace")
def test_a_clock_is_moved(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    annotate(bundle, timens_offset="boottime 604800 0")
    bundle.shell("cut -d. -f1 /proc/uptime")
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    done = pyrun.run(bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= int(uptime) + 604800


def test_the_pidfd_goes_to_the_receiver(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        annotate(bundle, pidfd_receiver=listener.getsockname())
        pid = pyrun.state(pyrun.create(bundle))["pid"]
        peer, _ = listener.accept()
        with peer:
            _, ancillary, _, _ = peer.recvmsg(64, socket.CMSG_LEN(4))
    pid_fd = int(array.array("i", ancillary[0][2])[0])
    assert f"Pid:\t{pid}\n" in Path(f"/proc/self/fdinfo/{pid_fd}").read_text()
    os.close(pid_fd)


def test_a_compiled_filter_replaces_the_profile(pyrun: Runtime, bundle: Bundle) -> None:
    # uname(2) fails with errno 99, everything else is allowed
    number = {"x86_64": 63, "aarch64": 160}[os.uname().machine]
    program = b"".join(
        struct.pack("HBBI", *entry)
        for entry in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | 99),
                      (0x06, 0, 0, 0x7FFF0000))
    )  # fmt: skip
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}
    annotate(bundle, seccomp_bpf_data=base64.b64encode(program).decode())
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    assert "Linux" not in pyrun.call("exec", name, "uname").stdout
    assert pyrun.call("exec", name, "echo", "works").stdout == "works\n"


def test_an_unknown_system_call_is_refused_on_request(pyrun: Runtime, bundle: Bundle) -> None:
    rule = {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    rule["action"] = "SCMP_ACT_LOG"
    annotate(bundle, seccomp_fail_unknown_syscall="0")
    assert pyrun.run(bundle).returncode == 0
    annotate(bundle, seccomp_fail_unknown_syscall="1")
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert "/linux/seccomp/syscalls/0/names/1: libseccomp knows no system call" in done.stderr
    rule["names"] = ["read"]
    assert pyrun.run(bundle).returncode == 0


def test_the_notify_descriptor_goes_to_the_receiver(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    rule = {"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        listener.settimeout(60)
        annotate(bundle, seccomp__receiver=listener.getsockname())
        name = pyrun.create(bundle)
        peer, _ = listener.accept()
        with peer:
            text, ancillary, _, _ = peer.recvmsg(1 << 16, socket.CMSG_LEN(4 * 8))
    assert json.loads(text)["state"]["id"] == name
    for fd in array.array("i", ancillary[0][2]):
        assert "seccomp notify" in os.readlink(f"/proc/self/fd/{fd}")
        os.close(fd)


@pytest.mark.needs("hybrid", "v2_view")
def test_the_mount_becomes_the_hierarchy_of_an_older_systemd(
    pyrun_path: str, tmp_path: Path, bundle: Bundle
) -> None:
    bundle.mount("/tmp", type="bind", source="/sys/fs/cgroup", options=["rbind", "ro"])
    bundle.shell("grep ' /tmp' /proc/mounts; ls /tmp")
    annotate(bundle, systemd__force_cgroup_v1="/tmp")
    with InLayout(pyrun_path, tmp_path / "state", "v2") as pyrun:
        tmpfs, cgroup, listed = pyrun.output(bundle).splitlines()
    assert tmpfs.split()[1:3] == ["/tmp", "tmpfs"]
    assert tmpfs.split()[3].startswith("ro,")
    assert cgroup.split()[1:3] == ["/tmp/systemd", "cgroup"]
    assert "name=systemd" in cgroup
    assert listed == "systemd"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("handler", "krun", "has no handler such as krun or wasm"),
        ("seccomp.plugins", "x.so", "loads no plugins"),
        ("seccomp.receiver", "relative", "must be an absolute path"),
        ("seccomp.receiver", "/run/socket", "needs a profile in /linux/seccomp"),
        ("seccomp_bpf_data", "?", "is not base64"),
        ("seccomp_bpf_data", "AAAA", "3 bytes are no BPF program"),
        ("mount_context_type", "nosuch", "is none of context"),
        ("systemd.force_cgroup_v1", "/nosuch", "there is no mount on /nosuch"),
        ("delegate-cgroup", "../x", "is not below the container's cgroup"),
        ("pidfd_receiver", "/nosuch", "send the pidfd to the socket /nosuch"),
    ],
)
def test_what_cannot_work_is_refused_by_name(
    pyrun: Runtime, bundle: Bundle, name: str, value: str, problem: str
) -> None:
    bundle.config["annotations"] = {f"run.oci.{name}": value}
    done = pyrun.run(bundle)
    assert (done.returncode, problem in done.stderr) == (1, True), done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


@pytest.mark.needs("cgroup_pids")
def test_cgroup_v1_cannot_be_delegated(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"run.oci.delegate-cgroup": "payload"}
    done = pyrun.run(bundle)
    assert (done.returncode, "only cgroup2 can be delegated" in done.stderr) == (1, True)


def test_an_unknown_annotation_means_nothing(pyrun: Runtime, bundle: Bundle) -> None:
    annotate(bundle, nosuch="1")
    bundle.config["annotations"]["org.example"] = "2"
    assert pyrun.run(bundle).returncode == 0
