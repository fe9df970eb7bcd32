"""linux.resources as files of the two kinds of hierarchies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyrun.errors import ConfigError
from pyrun.linux.cgroups import limits_v1, limits_v2
from pyrun.linux.cgroups.v2 import enable


def v1(resources: dict[str, Any]) -> dict[str, str]:
    return {f"{name}": value for _, name, value, _ in limits_v1.settings(resources)}


def v2(resources: dict[str, Any], directory: str = "/nowhere") -> dict[str, str]:
    return {f"{name}": value for _, name, value, _ in limits_v2.settings(resources, directory)}


def test_memory_in_v1() -> None:
    memory = {"limit": 4096, "swap": 8192, "reservation": 1024, "kernel": 512, "kernelTCP": 256}
    switches = {"swappiness": 0, "disableOOMKiller": True}
    assert v1({"memory": {**memory, **switches}}) == {
        "memory.limit_in_bytes": "4096",
        "memory.memsw.limit_in_bytes": "8192",
        "memory.soft_limit_in_bytes": "1024",
        "memory.kmem.limit_in_bytes": "512",
        "memory.kmem.tcp.limit_in_bytes": "256",
        "memory.swappiness": "0",
        "memory.oom_control": "1",
    }


def test_memory_in_v2_counts_swap_apart() -> None:
    assert v2({"memory": {"limit": 4096, "swap": 8192, "reservation": 1024}}) == {
        "memory.max": "4096",
        "memory.swap.max": "4096",
        "memory.low": "1024",
    }


@pytest.mark.parametrize("convert", [v1, v2])
def test_unlimited_memory_takes_swap_along(convert: Any) -> None:
    assert len(convert({"memory": {"limit": -1}})) == 2


@pytest.mark.parametrize("convert", [v1, v2])
def test_zero_and_null_are_not_limits(convert: Any) -> None:
    nothing = {"limit": 0, "swap": 0, "reservation": None, "disableOOMKiller": False}
    assert convert({"memory": nothing, "cpu": {"shares": 0, "quota": 0}, "pids": None}) == {}


def test_swap_below_memory_is_refused_in_v2() -> None:
    with pytest.raises(ConfigError, match="/linux/resources/memory/swap: 1 counts memory and swap"):
        v2({"memory": {"limit": 2, "swap": 1}})
    with pytest.raises(ConfigError, match="needs memory/limit"):
        v2({"memory": {"swap": 1}})


def test_cpu_in_v1() -> None:
    cpu = {"shares": 512, "quota": -1, "period": 50000, "burst": 0, "idle": 1, "cpus": "0-1"}
    realtime = {"realtimePeriod": 1000000, "realtimeRuntime": 950000, "mems": "0"}
    assert v1({"cpu": {**cpu, **realtime}}) == {
        "cpu.shares": "512",
        "cpu.cfs_quota_us": "-1",
        "cpu.cfs_period_us": "50000",
        "cpu.cfs_burst_us": "0",
        "cpu.idle": "1",
        "cpu.rt_period_us": "1000000",
        "cpu.rt_runtime_us": "950000",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
    }


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ({"quota": 50000, "period": 100000}, "50000 100000"),
        ({"quota": 50000}, "50000"),
        ({"quota": -1, "period": 100000}, "max 100000"),
        ({"period": 20000}, "max 20000"),
    ],
)
def test_quota_and_period_are_one_file_in_v2(cpu: dict[str, int], expected: str) -> None:
    assert v2({"cpu": cpu}) == {"cpu.max": expected}


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 100), (262144, 10000), (512, 59), (2048, 174), (1, 1)]
)
def test_shares_become_weight_on_the_curve_of_runc_1_5(shares: int, weight: int) -> None:
    assert limits_v2.cpu_weight(shares) == weight


def test_an_idle_group_takes_no_weight_in_v2() -> None:
    assert v2({"cpu": {"shares": 512, "idle": 1}}) == {"cpu.idle": "1"}


@pytest.mark.parametrize("convert", [v1, v2])
@pytest.mark.parametrize(("limit", "expected"), [(16, "16"), (0, "1"), (-1, "max")])
def test_pids_limit_zero_leaves_room_for_one(convert: Any, limit: int, expected: str) -> None:
    assert convert({"pids": {"limit": limit}}) == {"pids.max": expected}


BLOCK = {
    "weight": 500,
    "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
    "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 20}],
}


def test_block_io_in_v1() -> None:
    assert v1({"blockIO": {**BLOCK, "leafWeight": 300}}) == {
        "blkio.bfq.weight": "500",
        "blkio.leaf_weight": "300",
        "blkio.bfq.weight_device": "8:0 10",
        "blkio.throttle.read_bps_device": "8:0 1000",
        "blkio.throttle.write_iops_device": "8:16 20",
    }


def test_block_io_in_v2() -> None:
    settings = limits_v2.settings({"blockIO": BLOCK}, "/nowhere")
    assert [(name, value) for _, name, value, _ in settings] == [
        ("io.weight", "4950"),
        ("io.weight", "8:0 1"),
        ("io.max", "8:0 rbps=1000"),
        ("io.max", "8:16 wiops=20"),
    ]
    assert {controller for controller, *_ in settings} == {"io"}


def test_the_bfq_scheduler_takes_the_weight_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "io.bfq.weight").touch()
    assert v2({"blockIO": {"weight": 500}}, str(tmp_path)) == {"io.bfq.weight": "500"}


def test_hugepages(tmp_path: Path) -> None:
    limits = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]}
    assert v1(limits) == {"hugetlb.2MB.limit_in_bytes": "4096"}
    (tmp_path / "hugetlb.2MB.rsvd.limit_in_bytes").touch()
    assert [setting[1:] for setting in limits_v1.settings(limits, str(tmp_path))] == [
        ("hugetlb.2MB.limit_in_bytes", "4096", "/hugepageLimits/0"),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "4096", "/hugepageLimits/0"),
    ]
    assert v2(limits) == {"hugetlb.2MB.max": "4096"}
    (tmp_path / "hugetlb.2MB.rsvd.max").touch()
    assert v2(limits, str(tmp_path)) == {"hugetlb.2MB.max": "4096", "hugetlb.2MB.rsvd.max": "4096"}


def test_network_in_v1() -> None:
    network = {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}
    expected = {"net_cls.classid": "1048577", "net_prio.ifpriomap": "eth0 5"}
    assert v1({"network": network}) == expected


@pytest.mark.parametrize("convert", [v1, v2])
def test_rdma(convert: Any) -> None:
    limits = {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}
    assert convert({"rdma": limits}) == {"rdma.max": "mlx5_1 hca_handle=3 hca_object=10000"}


def test_unified_goes_to_its_files_line_by_line() -> None:
    unified = {"memory.high": "1048576", "io.max": "8:0 rbps=1\n8:16 wbps=2"}
    settings = limits_v2.settings({"unified": unified}, "/nowhere")
    assert [setting[:3] for setting in settings] == [
        ("memory", "memory.high", "1048576"),
        ("io", "io.max", "8:0 rbps=1"),
        ("io", "io.max", "8:16 wbps=2"),
    ]


@pytest.mark.parametrize("name", ["../memory.max", "memory/max", "memory"])
def test_unified_cannot_leave_the_cgroup(name: str) -> None:
    with pytest.raises(ConfigError, match="not the name of a file"):
        v2({"unified": {name: "1"}})


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"kernel": 1}}, "/memory/kernel"),
        ({"memory": {"kernelTCP": 1}}, "/memory/kernelTCP"),
        ({"memory": {"swappiness": 60}}, "/memory/swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "/memory/disableOOMKiller"),
        ({"cpu": {"realtimeRuntime": 1}}, "/cpu/realtimeRuntime"),
        ({"blockIO": {"leafWeight": 10}}, "/blockIO/leafWeight"),
        ({"network": {"classID": 1}}, "/network/classID"),
    ],
)
def test_what_cgroup2_cannot_express_is_refused(resources: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        v2(resources)
    assert caught.value.pointer == f"/linux/resources{pointer}"


def cgroup2(path: Path, *, procs: str = "", kind: str = "domain") -> Path:
    """Plain files in the place of a cgroup that could give cpu and pids to those below."""
    path.mkdir()
    files = {
        "cgroup.controllers": "cpu pids",
        "cgroup.subtree_control": "",
        "cgroup.procs": procs,
        "cgroup.type": kind,
    }
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def test_controllers_come_from_an_empty_cgroup(tmp_path: Path) -> None:
    above = cgroup2(tmp_path / "above")
    below = cgroup2(above / "below")
    assert enable(str(below), ["pids"])
    assert (above / "cgroup.subtree_control").read_text() == "+pids"


def test_controllers_of_a_cgroup_with_processes_stay_as_they_are(tmp_path: Path) -> None:
    """The kernel would take pids and make it a threaded domain."""
    above = cgroup2(tmp_path / "above", procs="17\n")
    below = cgroup2(above / "below")
    (below / "cgroup.controllers").write_text("")
    assert not enable(str(below), ["pids"])
    assert (above / "cgroup.subtree_control").read_text() == ""


def test_the_root_may_have_processes_and_controllers(tmp_path: Path) -> None:
    above = cgroup2(tmp_path / "above", procs="1\n")
    (above / "cgroup.type").unlink()  # the root has none
    assert enable(str(cgroup2(above / "below")), ["pids"])
    assert (above / "cgroup.subtree_control").read_text() == "+pids"
