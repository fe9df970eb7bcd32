"""``linux.resources`` as files of the v1 controllers (runtime-spec config-linux.md).

As in runc, a 0 where 0 would make no sense (memory, shares, quota, period, weight) means "not set".
"""

from __future__ import annotations

from pyrun import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrun.linux.cgroups.manager import Setting


def settings(resources: dict[str, Any], hugetlb: str = "") -> list[Setting]:
    """Every limit but devices and ``unified``, in the order of the specification.

    Args:
        resources: ``linux.resources``.
        hugetlb: the container's directory of that controller, if there is one.
    """
    found: list[Setting] = []
    for section, convert in _SECTIONS.items():
        value = resources.get(section)
        if value:
            found += convert(value)
    for index, entry in enumerate(resources.get("hugepageLimits") or []):
        # Since Linux 5.7 a mapping can be limited before its pages are touched.
        name = f"hugetlb.{entry['pageSize']}.rsvd.limit_in_bytes"
        if hugetlb and names.exists(f"{hugetlb}/{name}"):
            found.append(("hugetlb", name, str(entry["limit"]), f"/hugepageLimits/{index}"))
    return found


def _memory(memory: dict[str, Any]) -> list[Setting]:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit == -1 and not swap:
        swap = -1  # else a swap limit from before would stay below it and be refused
    found = [
        ("memory", f"memory.{name}", str(value), f"/memory/{key}")
        for key, name, value in (
            ("limit", "limit_in_bytes", limit),
            ("swap", "memsw.limit_in_bytes", swap),
            ("reservation", "soft_limit_in_bytes", memory.get("reservation")),
            ("kernel", "kmem.limit_in_bytes", memory.get("kernel")),
            ("kernelTCP", "kmem.tcp.limit_in_bytes", memory.get("kernelTCP")),
        )
        if value
    ]
    if memory.get("swappiness") is not None:
        value = str(memory["swappiness"])
        found.append(("memory", "memory.swappiness", value, "/memory/swappiness"))
    if memory.get("disableOOMKiller"):
        found.append(("memory", "memory.oom_control", "1", "/memory/disableOOMKiller"))
    if memory.get("useHierarchy"):
        found.append(("memory", "memory.use_hierarchy", "1", "/memory/useHierarchy"))
    return found


def _cpu(cpu: dict[str, Any]) -> list[Setting]:
    found = [
        ("cpu", f"cpu.{name}", str(cpu[key]), f"/cpu/{key}")
        for key, name in (
            ("shares", "shares"),
            ("realtimePeriod", "rt_period_us"),
            ("realtimeRuntime", "rt_runtime_us"),
            ("period", "cfs_period_us"),
            ("quota", "cfs_quota_us"),
        )
        if cpu.get(key)
    ]
    for key, name in (("burst", "cfs_burst_us"), ("idle", "idle")):
        if cpu.get(key) is not None:
            found.append(("cpu", f"cpu.{name}", str(cpu[key]), f"/cpu/{key}"))
    found += [
        ("cpuset", f"cpuset.{key}", cpu[key], f"/cpu/{key}")
        for key in ("cpus", "mems")
        if cpu.get(key)
    ]
    return found


def _pids(pids: dict[str, Any]) -> list[Setting]:
    limit = pids.get("limit")
    if limit is None:
        return []
    # 0 is one, as with runc: a container has a process, and systemd knows no TasksMax=0
    word = str(limit or 1) if limit >= 0 else "max"
    return [("pids", "pids.max", word, "/pids/limit")]


def _block_io(block: dict[str, Any]) -> list[Setting]:
    found: list[Setting] = [
        ("blkio", f"blkio.{name}", str(block[key]), f"/blockIO/{key}")
        for key, name in (("weight", "bfq.weight"), ("leafWeight", "leaf_weight"))
        if block.get(key)
    ]
    for index, entry in enumerate(block.get("weightDevice") or []):
        for key, name in (("weight", "bfq.weight_device"), ("leafWeight", "leaf_weight_device")):
            if entry.get(key):
                line = f"{entry['major']}:{entry['minor']} {entry[key]}"
                found.append(("blkio", f"blkio.{name}", line, f"/blockIO/weightDevice/{index}"))
    for key, name in (
        ("throttleReadBpsDevice", "read_bps_device"),
        ("throttleWriteBpsDevice", "write_bps_device"),
        ("throttleReadIOPSDevice", "read_iops_device"),
        ("throttleWriteIOPSDevice", "write_iops_device"),
    ):
        for index, entry in enumerate(block.get(key) or []):
            line = f"{entry['major']}:{entry['minor']} {entry['rate']}"
            found.append(("blkio", f"blkio.throttle.{name}", line, f"/blockIO/{key}/{index}"))
    return found


def _hugepages(limits: list[dict[str, Any]]) -> list[Setting]:
    return [
        (
            "hugetlb",
            f"hugetlb.{entry['pageSize']}.limit_in_bytes",
            str(entry["limit"]),
            f"/hugepageLimits/{index}",
        )
        for index, entry in enumerate(limits)
    ]


def _network(network: dict[str, Any]) -> list[Setting]:
    found: list[Setting] = []
    if network.get("classID"):
        found.append(("net_cls", "net_cls.classid", str(network["classID"]), "/network/classID"))
    for index, entry in enumerate(network.get("priorities") or []):
        line = f"{entry['name']} {entry['priority']}"
        where = f"/network/priorities/{index}"
        found.append(("net_prio", "net_prio.ifpriomap", line, where))
    return found


def rdma(limits: dict[str, dict[str, Any]]) -> list[Setting]:
    """``rdma`` is written alike in v1 and v2."""
    found: list[Setting] = []
    for device, entry in limits.items():
        words = [device]
        for key, name in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if entry.get(key) is not None:
                words.append(f"{name}={entry[key]}")
        where = "/rdma/" + device.replace("~", "~0").replace("/", "~1")
        found.append(("rdma", "rdma.max", " ".join(words), where))
    return found


_SECTIONS: dict[str, Callable[[Any], list[Setting]]] = {
    "memory": _memory,
    "cpu": _cpu,
    "pids": _pids,
    "blockIO": _block_io,
    "hugepageLimits": _hugepages,
    "network": _network,
    "rdma": rdma,
}
