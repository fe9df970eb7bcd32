from __future__ import annotations

import pytest

from pyrun.errors import KernelError
from pyrun.linux.cgroups import select, v1, v2
from pyrun.linux.cgroups.hierarchy import Hierarchy

HYBRID_MOUNTS = """\
24 1 0:21 / /proc rw - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
HYBRID_OWN = """\
9:name=systemd:/user.slice
4:memory:/jobs/one
3:cpuset:/
1:cpu,cpuacct:/
0::/user.slice
"""
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_hybrid_hierarchies_are_matched_with_the_own_cgroup() -> None:
    found = {one.name: one for one in select.parse(HYBRID_MOUNTS, HYBRID_OWN)}
    assert set(found) == {"cpu,cpuacct", "memory", "systemd", "unified"}
    assert found["memory"].own == "/jobs/one"
    assert found["cpu,cpuacct"].controllers == ("cpu", "cpuacct")
    assert found["cpu,cpuacct"].data == "cpu,cpuacct"
    assert found["systemd"].data == "none,name=systemd"
    assert (found["unified"].fstype, found["unified"].data) == ("cgroup2", "")
    assert select.layout(list(found.values())) == "hybrid"


def test_a_controller_without_a_mount_is_left_out() -> None:
    names = [one.name for one in select.parse(HYBRID_MOUNTS, HYBRID_OWN)]
    assert "cpuset" not in names


def test_v1_alone_has_no_cgroup2() -> None:
    mounts = HYBRID_MOUNTS.replace("41 31", "").replace(" - cgroup2 cgroup2 rw", " - tmpfs x rw")
    assert select.layout(select.parse(mounts, HYBRID_OWN)) == "v1"


def test_cgroup2_at_the_root_hides_v1_hierarchies_elsewhere() -> None:
    mounts = V2_MOUNTS + "50 1 0:40 / /mnt/net_cls rw - cgroup cgroup rw,net_cls\n"
    found = select.parse(mounts, "5:net_cls:/\n0::/user.slice\n")
    assert [one.fstype for one in found] == ["cgroup2"]
    assert found[0].name == ""
    assert select.layout(found) == "v2"


def test_no_hierarchy_at_all_has_a_layout_of_its_own() -> None:
    assert select.layout(select.parse("", "0::/\n")) == "none"


def test_inside_a_container_paths_are_below_the_mounted_part() -> None:
    mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    (found,) = select.parse(mounts, "4:memory:/docker/abc/inner\n")
    assert found.own == "/inner"
    (outside,) = select.parse(mounts, "4:memory:/other\n")
    assert outside.own == "/"


def test_a_cgroup_outside_of_the_namespace_counts_as_the_root() -> None:
    (found,) = select.parse(V2_MOUNTS, "0::/../../other\n")
    assert found.own == "/"


def test_spaces_in_a_mountpoint_are_decoded() -> None:
    line = "30 23 0:26 / /cgroups\\040here rw - cgroup cgroup rw,memory\n"
    (found,) = select.parse(line, "4:memory:/\n")
    assert found.mountpoint == "/cgroups here"


def hierarchy(fstype: str, own: str) -> Hierarchy:
    return Hierarchy("x", fstype, ("memory",), "/sys/fs/cgroup/x", own)


@pytest.mark.parametrize(
    ("fstype", "own", "cgroups_path", "expected"),
    [
        ("cgroup", "/jobs", "/a/b", "/a/b"),
        ("cgroup", "/jobs", "a/b", "/jobs/a/b"),
        ("cgroup", "/jobs", "", "/jobs/web1"),
        ("cgroup", "/", "", "/web1"),
        ("cgroup", "/jobs", "/a/../../b/.", "/b"),
        ("cgroup", "/jobs", "../../a", "/jobs/a"),
        ("cgroup2", "/user/session", "", "/user/web1"),
        ("cgroup2", "/user/session", "a", "/user/a"),
        ("cgroup2", "/session", "", "/web1"),
        ("cgroup2", "/", "//a", "/a"),
    ],
)
def test_cgroups_path_is_placed(fstype: str, own: str, cgroups_path: str, expected: str) -> None:
    assert select.place(hierarchy(fstype, own), cgroups_path, "web1") == expected


def test_a_record_gives_the_same_manager_again() -> None:
    paths = {"memory": "/sys/fs/cgroup/memory/web1", "": "/sys/fs/cgroup/unified/web1"}
    again = select.from_record(v1.Manager("hybrid", paths, rootless=True).record())
    assert isinstance(again, v1.Manager)
    assert (again.layout, again.paths, again.rootless) == ("hybrid", paths, True)
    record = v2.Manager("v2", {"": "/sys/fs/cgroup/web1"}).record()
    assert isinstance(select.from_record(record), v2.Manager)


def test_without_any_hierarchy_the_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "hierarchies", list)
    with pytest.raises(KernelError, match="no cgroup hierarchy is mounted"):
        select.manager("", "web1")


def test_a_rootless_caller_may_go_without_any_hierarchy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "hierarchies", list)
    without = select.manager("", "web1", rootless=True)
    without.create({})
    assert (without.procs(), without.directories()) == ([], [])
    without.delete()
