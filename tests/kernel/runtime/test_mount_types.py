"""Each type of ``mounts`` as the container sees it, cgroup in every layout of the host."""

from __future__ import annotations

import os
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import InLayout, Runtime

pytestmark = pytest.mark.needs("root", "busybox")


class Seen:
    """The topmost mounts that a container saw."""

    def __init__(self, mountinfo: str) -> None:
        self._found: dict[str, tuple[set[str], str, set[str]]] = {}
        for line in mountinfo.splitlines():
            left, _, right = line.partition(" - ")
            fields, tail = left.split(), right.split()
            self._found[fields[4]] = (set(fields[5].split(",")), tail[0], set(tail[2].split(",")))

    def type(self, target: str) -> str:
        return self._found[target][1]

    def options(self, target: str) -> set[str]:
        """Those of the mount and of its file system."""
        return self._found[target][0] | self._found[target][2]

    def below(self, target: str) -> list[str]:
        return sorted(path for path in self._found if path.startswith(f"{target}/"))


def seen(runtime: Runtime, bundle: Bundle) -> Seen:
    bundle.shell("cat /proc/self/mountinfo")
    return Seen(runtime.output(bundle))


def replace(bundle: Bundle, place: str, /, **fields: Any) -> None:
    """Change the entry of ``mounts`` with this destination."""
    (entry,) = [one for one in bundle.config["mounts"] if one["destination"] == place]
    entry.update(fields)


# --- cgroup


@pytest.mark.parametrize("own", [True, False], ids=["own namespace", "the host's namespace"])
@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_the_cgroup_mount_has_its_options_in_every_layout(
    runtime: InLayout, bundle: Bundle, own: bool, mode: str
) -> None:
    if not own:
        entries = bundle.linux["namespaces"]
        bundle.linux["namespaces"] = [one for one in entries if one["type"] != "cgroup"]
    strict = ["nosuid", "noexec", "nodev"]
    replace(bundle, "/sys/fs/cgroup", options=[*strict, mode])
    bundle.linux["readonlyPaths"] = []
    bundle.shell(
        "cat /proc/self/mountinfo; echo ---; d=/sys/fs/cgroup; [ -e $d/pids ] && d=$d/pids;"
        "cat $d/cgroup.procs; mkdir $d/below 2>/dev/null && rmdir $d/below && echo made"
    )
    bundle.config["root"]["readonly"] = False
    text = runtime.output(bundle) if mode == "rw" else runtime.run(bundle).stdout
    mountinfo, _, rest = text.partition("---\n")
    mounts = Seen(mountinfo)
    pids, made = rest.split()[:-1] if mode == "rw" else rest.split(), rest.split()[-1:] == ["made"]
    assert pids[0] == "1"
    assert made == (mode == "rw")
    if mounts.type("/sys/fs/cgroup") == "cgroup2":
        places = ["/sys/fs/cgroup"]
    else:
        assert mounts.type("/sys/fs/cgroup") == "tmpfs"
        places = mounts.below("/sys/fs/cgroup")
        assert {f"/sys/fs/cgroup/{name}" for name in ("memory", "pids")} <= set(places)
        assert ("/sys/fs/cgroup/unified" in places) == (runtime.layout == "host")
    for place in places:
        assert {mode, *strict} <= mounts.options(place), place


def test_controllers_that_share_a_hierarchy_are_links(runtime: InLayout, bundle: Bundle) -> None:
    bundle.shell("cd /sys/fs/cgroup; for d in *; do [ -L $d ] && readlink -f $d; done; true")
    for line in runtime.output(bundle).splitlines():
        assert os.path.basename(line).count(",") > 0  # such as cpu,cpuacct


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_both_words_mount_what_the_host_has(runtime: InLayout, bundle: Bundle, kind: str) -> None:
    replace(bundle, "/sys/fs/cgroup", type=kind)
    bundle.shell("ls /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs 2>/dev/null")
    assert runtime.run(bundle).stdout.count("cgroup.procs") == 1


def test_cgroup_goes_wherever_it_is_asked_for(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    replace(bundle, "/sys/fs/cgroup", destination="/elsewhere/groups")
    bundle.shell("cat /elsewhere/groups/cgroup.procs /elsewhere/groups/pids/cgroup.procs")
    assert pyrun.run(bundle).stdout.split()[0] == "1"


# --- proc, sysfs, devpts, mqueue, tmpfs


def test_proc_takes_its_own_options(pyrun: Runtime, bundle: Bundle) -> None:
    replace(bundle, "/proc", options=["hidepid=2", "nosuid", "noexec", "nodev"])
    mounts = seen(pyrun, bundle)
    assert mounts.type("/proc") == "proc"
    hidden = {"hidepid=invisible", "hidepid=2"}  # since Linux 5.8, and before
    assert mounts.options("/proc") & hidden
    assert {"nosuid", "noexec", "nodev"} <= mounts.options("/proc")


def test_sysfs_is_that_of_the_network_namespace(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("cat /proc/self/mountinfo; ls /sys/class/net")
    text = pyrun.output(bundle)
    assert Seen(text.rpartition("\n")[0]).type("/sys") == "sysfs"
    assert text.splitlines()[-1] == "lo"


def test_devpts_is_the_containers_own(pyrun: Runtime, bundle: Bundle) -> None:
    options = ["nosuid", "noexec", "newinstance", "ptmxmode=0620", "mode=0600", "gid=5", "max=7"]
    replace(bundle, "/dev/pts", options=options)
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


def test_a_mount_label_without_selinux_is_refused(pyrun: Runtime, bundle: Bundle) -> None:
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this kernel has SELinux")
    bundle.linux["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2"
    done = pyrun.run(bundle)
    assert (done.returncode, "/linux/mountLabel: " in done.stderr) == (1, True)
