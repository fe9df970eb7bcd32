"""What run's options make of a container's confinement, and what it shares."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")

SLEEP = (IMAGE, "sleep", "1000")


def namespaces(pid: str) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "ipc", "uts", "net",
                                                                      "cgroup")}  # fmt: skip


def test_confinement_can_be_changed_path_by_path(box: ContainerRoot) -> None:
    script = (
        "busybox wc -c </proc/uptime; busybox grep -c ' /proc/fs ' /proc/mounts;"
        " busybox grep -c ' /proc/bus ' /proc/mounts; busybox grep '^proc /proc ' /proc/mounts;"
        " cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; busybox uname -m;"
        " ls -l /dev/zed; busybox head -c 1 /dev/one 2>&1"
    )
    output = box.sh(
        f"{script} || true", "--security-opt", "mask=/proc/uptime", "--security-opt",
        "unmask=/proc/f*:/proc/acpi", "--security-opt", "proc-opts=hidepid=2", "--sysctl",
        "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=100", "--personality", "LINUX32",
        "--device", "/dev/null:/dev/zed:r", "--device", "/dev/fuse:/dev/one:w",
        "--security-opt", "label=disable", "--device-cgroup-rule", "c 250:* rwm",
    ).splitlines()  # fmt: skip
    assert output[:3] == ["0", "0", "1"]
    assert "hidepid" in output[3]
    assert "nosuid" in output[3]
    asked = ["setarch", "linux32", "uname", "-m"]  # user-mode Linux shows no other machine
    machine = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    assert output[4:7] == ["1", "100", machine]
    assert output[7].startswith("crw-rw-rw-")
    assert "not permitted" in output[8]
    count = "busybox grep -c -E ' /(proc|sys)/[a-z]+ ' /proc/mounts || true"
    assert box.sh(count, "--security-opt", "systempaths=unconfined") == "0\n"


def test_namespaces_are_shared_with_the_host(box: ContainerRoot) -> None:
    box.ok(
        "run", "-d", "--name", "open", "--pid", "host", "--ipc", "host", "--uts", "host",
        "--network", "host", "--cgroupns", "host", *SLEEP,
    )  # fmt: skip
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", "open").strip()
    assert namespaces(pid) == namespaces("self")
    assert os.path.samestat(os.stat(f"/proc/{pid}/root/dev/shm"), os.stat("/dev/shm"))
    closed = box.ok("run", "-d", "--cgroupns", "private", "--ipc", "none", *SLEEP).strip()
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", closed).strip()
    assert not set(namespaces(pid).values()) & set(namespaces("self").values())
    mounts = Path(f"/proc/{pid}/mounts").read_text()
    assert " /dev/shm " not in mounts


def test_namespaces_are_shared_with_a_container_which_is_started_first(box: ContainerRoot) -> None:
    box.ok("create", "--name", "donor", "--add-host", "friend:10.1.2.3", *SLEEP)
    modes = [word for kind in ("pid", "ipc", "uts", "network", "cgroupns")
             for word in (f"--{kind}", "container:donor")]  # fmt: skip
    box.ok("run", "-d", "--name", "guest", *modes, *SLEEP)
    pids = box.ok("inspect", "--format", "{{.State.Pid}}", "donor", "guest").split()
    assert namespaces(pids[0]) == namespaces(pids[1])
    box.ok("exec", "guest", "sh", "-c", "echo shared >/dev/shm/file")
    assert box.ok("exec", "donor", "cat", "/dev/shm/file") == "shared\n"
    assert "10.1.2.3\tfriend" in box.ok("exec", "guest", "cat", "/etc/hosts")
    error = box.fails("rm", "-f", "-t", "0", "donor", status=2)
    assert "has dependent containers which must be removed before it" in error
    box.ok("rm", "-f", "-t", "0", "guest")
    assert box.ok("exec", "donor", "cat", "/dev/shm/file") == "shared\n"
    paths = [word for kind, name in (("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"),
                                     ("network", "net"), ("cgroupns", "cgroup"))
             for word in (f"--{kind}", f"ns:/proc/{pids[0]}/ns/{name}")]  # fmt: skip
    script = "for kind in cgroup ipc net pid uts; do busybox readlink /proc/self/ns/$kind; done"
    assert sorted(box.sh(script, *paths).split()) == sorted(namespaces(pids[0]).values())
    error = box.fails("create", "--pid", "container:nosuch", *SLEEP)
    assert "looking up container to share pid namespace with" in error
    private = box.ok("create", "--ipc", "private", *SLEEP).strip()
    error = box.fails("create", "--ipc", f"container:{private}", *SLEEP)
    assert "non-shareable IPC" in error


def test_what_a_container_requires_is_started_before_it(box: ContainerRoot) -> None:
    box.ok("create", "--name", "first", *SLEEP)
    box.ok("create", "--name", "second", "--requires", "first", *SLEEP)
    box.ok("create", "--name", "third", "--requires", "first,second", *SLEEP)
    box.ok("start", "third")
    assert sorted(box.ok("ps", "--format", "{{.Names}}").split()) == ["first", "second", "third"]
    assert "dependent" in box.fails("rm", "-f", "-t", "0", "first", status=2)
    assert "no such container" in box.fails("create", "--requires", "nosuch", *SLEEP)


def test_a_cdi_device_brings_nodes_mounts_variables_and_hooks(
    box: ContainerRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "vendor.example.com/class"
    edits = {
        "env": ["ONE=1", "PATH=/nowhere:/bin"],
        "deviceNodes": [{"path": "/dev/cdi0", "hostPath": "/dev/fuse", "permissions": "r"},
                        {"path": "/dev/fuse0", "hostPath": "/dev/zero", "fileMode": 0o600}],
        "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/cdi/name"}],
        "hooks": [{"hookName": "createRuntime", "path": "/bin/sh",
                   "args": ["sh", "-c", f"cat >{tmp_path}/state"]}],
        "additionalGids": [77],
    }  # fmt: skip
    specification = {
        "cdiVersion": "0.7.0", "kind": kind, "containerEdits": {"env": ["ALL=yes"]},
        "devices": [{"name": "one", "containerEdits": edits}],
    }  # fmt: skip
    (tmp_path / "vendor.yaml").write_text(json.dumps(specification))  # YAML as well
    script = (
        "echo $ALL$ONE $PATH; busybox wc -l </cdi/name; id -G; stat -c %a /dev/fuse0;"
        " busybox head -c 1 /dev/fuse0 | busybox wc -c;"
        " echo x >/dev/cdi0; echo x >/cdi/name"
    )
    missing = box.fails("create", "--device", f"{kind}=one", *SLEEP)
    assert f"unresolvable CDI devices {kind}=one: no specification in /etc/cdi or" in missing
    monkeypatch.setattr(box, "programs", ("--cdi-spec-dir", str(tmp_path)))
    id_ = box.ok("create", "--device", f"{kind}=one", IMAGE, "sh", "-c", script).strip()
    assert f"unresolvable CDI devices {kind}=two" in box.fails(
        "create", "--device", f"{kind}=two", *SLEEP
    )
    assert "CDI devices nvidia.com/gpu=all" in box.fails("create", "--gpus", "all", *SLEEP)
    monkeypatch.setattr(box, "programs", ())  # the container knows where to look
    done = box.call("start", "-a", id_)
    lines = done.stdout.splitlines()
    assert lines[:5] == ["yes1 /nowhere:/bin", "1", "0 77", "600", "1"]
    assert len(lines) == 5
    assert "can't create /dev/cdi0: Operation not permitted" in done.stderr
    assert "/cdi/name: Read-only file system" in done.stderr
    assert json.loads((tmp_path / "state").read_text())["id"] == id_


def test_a_cgroup_parent_is_of_the_managers_kind(box: ContainerRoot) -> None:
    error = box.fails("create", "--cgroup-parent", "a.slice", *SLEEP)
    assert "systemd slice a.slice received as cgroup parent when using cgroupfs" in error
    error = box.fails("--cgroup-manager", "systemd", "create", "--cgroup-parent", "/a", *SLEEP)
    assert "/a should end in .slice" in error


def test_inspect_tells_what_the_options_said(box: ContainerRoot) -> None:
    options = ("--add-host", "a;b:10.0.0.1", "--group-add", "7", "--device",
               "/dev/null:/dev/zed:r", "--dns", "10.0.0.2", "--network", "host")  # fmt: skip
    id_ = box.ok("create", *options, *SLEEP)
    found = json.loads(box.ok("inspect", id_.strip()))[0]["HostConfig"]
    assert (found["ExtraHosts"], found["GroupAdd"]) == (["a:10.0.0.1", "b:10.0.0.1"], ["7"])
    assert (found["Dns"], found["Init"]) == (["10.0.0.2"], False)
    assert found["Devices"] == [
        {"PathOnHost": "/dev/null", "PathInContainer": "/dev/zed", "CgroupPermissions": "r"}
    ]


def test_apparmor_profiles_need_apparmor(box: ContainerRoot) -> None:
    if os.path.exists("/sys/module/apparmor/parameters/enabled"):
        pytest.skip("this kernel has AppArmor")
    error = box.fails("create", "--security-opt", "apparmor=profile", *SLEEP)
    assert "Apparmor is not enabled on this system" in error
    assert box.sh("true", "--security-opt", "apparmor=unconfined") == ""


def test_without_selinux_labels_are_taken_and_change_nothing(
    box: ContainerRoot, tmp_path: Path
) -> None:
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this kernel has SELinux")
    (tmp_path / "file").write_text("x")
    options = ("--security-opt", "label=type:spc_t", "--security-opt", "label=level:s0:c1,c2",
               "-v", f"{tmp_path}:/own:Z", "-v", "named:/named:z")  # fmt: skip
    id_ = box.ok("run", "-d", *options, *SLEEP).strip()
    assert box.ok("exec", id_, "cat", "/own/file") == "x"
    for path in (tmp_path, tmp_path / "file", box.root / "volumes/named/_data"):
        assert "security.selinux" not in os.listxattr(path)
    found = json.loads(box.ok("inspect", id_))[0]
    assert (found["ProcessLabel"], found["MountLabel"]) == ("", "")
    assert found["HostConfig"]["SecurityOpt"] == ["label=type:spc_t", "label=level:s0:c1,c2"]
    assert "bad label option" in box.fails("create", "--security-opt", "label=bogus", *SLEEP)


def test_an_attack_on_a_donors_shared_memory_stays_inside(box: ContainerRoot) -> None:
    """A link at the place of /dev/shm leads nowhere outside the donor."""
    box.ok("run", "-d", "--name", "evil", "--ipc", "none", "--privileged", IMAGE, "sh", "-c",
           "busybox ln -s / /dev/shm; exec sleep 1000")  # fmt: skip
    error = box.fails("create", "--ipc", "container:evil", *SLEEP)
    assert "non-shareable" in error
    box.ok("run", "-d", "--name", "worse", "--privileged", IMAGE, "sh", "-c",
           "busybox umount /dev/shm; busybox rmdir /dev/shm; busybox ln -s /proc/1/cwd /dev/shm;"
           " echo ready; exec sleep 1000")  # fmt: skip
    done = subprocess.run(
        box.argv("run", "--rm", "--ipc", "container:worse", IMAGE, "ls", "/dev/shm"),
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (125, b"")


def test_a_rule_opens_devices_that_the_container_makes_itself(box: ContainerRoot) -> None:
    def complaints(*options: str) -> list[str]:
        script = "busybox mknod /dev/mine c 10 229; : </dev/mine; : >/dev/mine"
        return box.call("run", "--rm", *options, IMAGE, "sh", "-c", script).stderr.splitlines()

    read, write = (
        f"sh: can't {verb} /dev/mine: Operation not permitted" for verb in ("open", "create")
    )
    assert complaints("--cap-add", "MKNOD")[:1] == [read]
    rule = ("--cap-add", "MKNOD", "--device-cgroup-rule")
    assert complaints(*rule, "c 10:229 r")[:1] == [write]
    assert complaints(*rule, "c *:* rwm") == []


def test_the_images_own_seccomp_profile_holds_where_the_policy_says_so(
    box: ContainerRoot, tmp_path: Path
) -> None:
    rule = '{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}'
    profile = f'{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}'
    name = box.ok("create", IMAGE, "true").strip()
    label = f"LABEL io.containers.seccomp.profile='{profile}'"
    box.ok("commit", "--change", label, name, "localhost/profiled")
    words = ("localhost/profiled", "busybox", "mkdir", "/made")
    refused = box.call("run", "--rm", "--seccomp-policy", "image", *words)
    assert (refused.returncode, "No space left" in refused.stderr) == (1, True), refused
    box.ok("run", "--rm", *words)
    (tmp_path / "profile.json").write_text(profile)
    own = ("--security-opt", f"seccomp={tmp_path}/profile.json")
    assert box.call("run", "--rm", *own, *words).stderr == refused.stderr
    box.ok("rmi", "-f", "localhost/profiled")
