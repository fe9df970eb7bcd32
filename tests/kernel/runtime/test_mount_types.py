"""Each type of ``mounts`` as the container sees it; cgroup has a file of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.mountinfo import MountInfo
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


def seen(runtime: Runtime, bundle: Bundle) -> MountInfo:
    bundle.shell("cat /proc/self/mountinfo")
    return MountInfo(runtime.output(bundle))


# --- proc, sysfs, devpts, mqueue, tmpfs


def test_proc_takes_its_own_options(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.change_mount("/proc", options=["hidepid=2", "nosuid", "noexec", "nodev"])
    mounts = seen(pyrun, bundle)
    assert mounts.type("/proc") == "proc"
    hidden = {"hidepid=invisible", "hidepid=2"}  # since Linux 5.8, and before
    assert mounts.options("/proc") & hidden
    assert {"nosuid", "noexec", "nodev"} <= mounts.options("/proc")


def test_sysfs_is_that_of_the_network_namespace(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("cat /proc/self/mountinfo; ls /sys/class/net")
    text = pyrun.output(bundle)
    assert MountInfo(text.rpartition("\n")[0]).type("/sys") == "sysfs"
    assert text.splitlines()[-1] == "lo"


def with_users(bundle: Bundle, *, without: str) -> None:
    """A user namespace whose root is the host's, in which one other namespace is missing."""
    kept = [one for one in bundle.linux["namespaces"] if one["type"] != without]
    bundle.linux["namespaces"] = [*kept, {"type": "user"}]
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    bundle.linux["gidMappings"] = bundle.linux["uidMappings"]


@pytest.mark.needs("userns")
def test_without_a_network_namespace_a_user_namespace_has_a_sysfs_of_the_hosts(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """The kernel gives init none; the host's root could write to it, and to cgroups below it."""
    with_users(bundle, without="network")
    bundle.config["mounts"].pop()  # that of the cgroups
    bundle.linux["maskedPaths"] = ["/sys/kernel"]
    bundle.shell(
        "cat /proc/self/mountinfo; echo; ls /sys/class/net; echo; ls /sys/kernel /sys/fs/cgroup |"
        "grep -v '^/sys'; mkdir /sys/module/x 2>&1"
    )
    done = pyrun.run(bundle)
    text, devices, hidden = done.stdout.split("\n\n")
    mounts = MountInfo(text)
    assert mounts.type("/sys") == "sysfs"
    assert {"ro", "nosuid", "nodev", "noexec"} <= mounts.own_options("/sys")
    assert mounts.below("/sys") == ["/sys/kernel"]
    assert "shared:" not in text
    assert devices.split() == sorted(os.listdir("/sys/class/net"))
    assert "Read-only file system" in hidden
    assert hidden.count("\n") == 2, hidden


@pytest.mark.needs("userns")
def test_a_user_namespace_has_a_sysfs_of_the_network_namespace_that_it_joins(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """And pyrun itself, with the hooks of the host, goes back to where it came from."""
    with_users(bundle, without="network")
    bundle.hook("createRuntime", tmp_path / "hook", f"readlink /proc/self/ns/net >{tmp_path}/seen")
    bundle.change_mount("/sys", options=["rw", "noatime"])
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        assert holder.stdout
        assert holder.stdout.readline() == b"\n"
        path = f"/proc/{holder.pid}/ns/net"
        bundle.linux["namespaces"].append({"type": "network", "path": path})
        bundle.shell("cat /proc/self/mountinfo; echo; ls /sys/class/net")
        text, devices = pyrun.output(bundle).split("\n\n")
        holder.communicate(b"\n")
    mounts = MountInfo(text)
    assert devices == "lo"
    assert mounts.type("/sys") == "sysfs"
    assert {"rw", "noatime"} <= mounts.own_options("/sys")
    assert (tmp_path / "seen").read_text().strip() == os.readlink("/proc/self/ns/net")


@pytest.mark.needs("userns")
def test_a_sysfs_of_the_hosts_takes_no_option_that_it_does_not_know(
    pyrun: Runtime, bundle: Bundle
) -> None:
    with_users(bundle, without="network")
    bundle.change_mount("/sys", options=["nosuchoption=1"])
    done = pyrun.run(bundle)
    assert "mount sysfs on /sys: Invalid argument: option nosuchoption=1" in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


@pytest.mark.needs("userns")
@pytest.mark.parametrize(
    ("missing", "mount"), [("pid", "proc on /proc"), ("ipc", "mqueue on /dev/mqueue")]
)
def test_what_a_user_namespace_may_not_mount_is_told_with_what_it_needs(
    pyrun: Runtime, bundle: Bundle, missing: str, mount: str
) -> None:
    with_users(bundle, without=missing)
    done = pyrun.run(bundle)
    problem = f"a user namespace needs a new {missing} namespace for it"
    assert f"mount {mount}: Operation not permitted: {problem}" in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


def test_devpts_is_the_containers_own(pyrun: Runtime, bundle: Bundle) -> None:
    options = ["nosuid", "noexec", "newinstance", "ptmxmode=0620", "mode=0600", "gid=5", "max=7"]
    bundle.change_mount("/dev/pts", options=options)
    mounts = seen(pyrun, bundle)
    assert mounts.type("/dev/pts") == "devpts"
    assert {"gid=5", "mode=600", "ptmxmode=620", "max=7"} <= mounts.options("/dev/pts")
    bundle.shell("ls /dev/pts; stat -c %a /dev/pts/ptmx")
    assert pyrun.output(bundle).split() == ["ptmx", "620"]


def test_mqueue_is_that_of_the_ipc_namespace(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"fs.mqueue.msg_max": "7"}
    assert seen(pyrun, bundle).type("/dev/mqueue") == "mqueue"
    bundle.shell("ls /dev/mqueue; cat /proc/sys/fs/mqueue/msg_max; touch /dev/mqueue/x && echo x")
    assert pyrun.output(bundle).split() == ["7", "x"]


@pytest.mark.parametrize("kind", ["proc", "sysfs", "tmpfs", "devpts", "mqueue"])
def test_an_option_that_the_file_system_does_not_know_is_refused(
    pyrun: Runtime, bundle: Bundle, kind: str
) -> None:
    bundle.config["root"]["readonly"] = False
    destination = {"proc": "/proc", "sysfs": "/sys"}.get(kind, "/x")
    bundle.config["mounts"] = [
        one for one in bundle.config["mounts"] if one["destination"] != destination
    ]
    bundle.mount(destination, type=kind, source=kind, options=["nosuchoption=1"])
    done = pyrun.run(bundle)
    if done.returncode == 0:
        assert kind == "mqueue"  # it has no options, and the kernel reads none
        return
    assert f"mount {kind} on {destination}: Invalid argument" in done.stderr


def test_a_tmpfs_where_there_was_no_directory_is_everybodys(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.mount("/new", type="tmpfs", source="tmpfs", options=["size=64k"])
    bundle.process["args"] = ["stat", "-c", "%a", "/new"]
    assert pyrun.output(bundle) == "1777"


@pytest.mark.parametrize("mode", [0o1777, 0o750])
def test_a_tmpfs_without_mode_keeps_that_of_the_directory(
    pyrun: Runtime, bundle: Bundle, mode: int
) -> None:
    (bundle.rootfs / "x").mkdir()
    (bundle.rootfs / "x").chmod(mode)
    bundle.mount("/x", type="tmpfs", source="tmpfs", options=["size=64k", "nr_inodes=10"])
    bundle.shell("stat -c %a /x")
    assert pyrun.output(bundle) == f"{mode:o}"


def test_a_copy_up_that_does_not_fit_is_told(pyrun: Runtime, bundle: Bundle) -> None:
    (bundle.rootfs / "data").mkdir()
    (bundle.rootfs / "data/large").write_bytes(b"x" * (1 << 20))
    bundle.mount("/data", type="tmpfs", source="tmpfs", options=["tmpcopyup", "size=64k"])
    done = pyrun.run(bundle)
    assert (done.returncode, "mount tmpfs on /data: No space left" in done.stderr) == (1, True)
    assert pyrun.left(pyrun.ids[-1]) == []


def test_a_remount_changes_what_is_mounted(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.mount("/dev/shm", type="tmpfs", source="tmpfs", options=["remount", "ro", "size=32k"])
    mounts = seen(pyrun, bundle)
    assert {"ro", "size=32k"} <= mounts.options("/dev/shm")
