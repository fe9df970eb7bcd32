"""What a container uses, from the v1 hierarchies, under the names that runc's ``events`` gives it.

cgroupspy knows the files of the older controllers and their formats (docs/adr/0013); those that it
does not know are read here.
"""

from __future__ import annotations

from pyrun import names
from pyrun.linux.cgroups import stats_v2
from pyrun.linux.cgroups.hierarchy import UNIFIED
from pyrun.linux.cgroups.stats_v2 import device_entry, entry, lines, number, without_zeros

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TICK_NS = 10_000_000  # USER_HZ is 100 everywhere
_CPUSET = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
    "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip
_BLKIO = {
    "ioServiceBytesRecursive": "io_service_bytes_recursive",
    "ioServicedRecursive": "io_serviced_recursive",
    "ioQueueRecursive": "io_queued_recursive",
    "ioServiceTimeRecursive": "io_service_time_recursive",
    "ioWaitTimeRecursive": "io_wait_time_recursive",
    "ioMergedRecursive": "io_merged_recursive",
    "ioTimeRecursive": "time_recursive",
    "sectorsRecursive": "sectors_recursive",
}


class _Node:
    """A directory, as far as cgroupspy's controllers ask for a node of its tree."""

    __slots__ = ("full_path",)

    def __init__(self, directory: str) -> None:
        self.full_path = names.encode(directory)


def read(paths: dict[str, str]) -> dict[str, Any]:
    """Every section but those of other kernel parts.

    Args:
        paths: controller to directory; cgroup2 may have what no v1 hierarchy has.
    """
    unified = paths.get(UNIFIED, "")
    found = {
        "cpu": _cpu(paths),
        "cpuset": _cpuset(paths["cpuset"]) if "cpuset" in paths else {},
        "memory": _memory(paths["memory"]) if "memory" in paths else {},
        "pids": stats_v2.pids(paths["pids"]) if "pids" in paths else {},
        "blkio": _blkio(paths["blkio"]) if "blkio" in paths else {},
        "hugetlb": _hugetlb(paths["hugetlb"]) if "hugetlb" in paths else {},
    }
    if unified:
        for section, file in (("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")):
            found[section].update(stats_v2.psi(f"{unified}/{file}.pressure"))
        if "hugetlb" not in paths:
            found["hugetlb"] = stats_v2.hugetlb(unified)
    return found


def _cpu(paths: dict[str, str]) -> dict[str, Any]:
    from cgroupspy.controllers import CpuAcctController, CpuController

    usage: dict[str, Any] = {"kernel": 0, "user": 0}
    if "cpuacct" in paths:
        account = CpuAcctController(_Node(paths["cpuacct"]))
        table = lines(f"{paths['cpuacct']}/cpuacct.usage_all")[1:]  # below its headline
        ticks = account.acct_stat
        usage = {
            **without_zeros({
                "total": account.usage,
                "percpu": account.usage_percpu,
                "percpu_kernel": [int(words[2]) for words in table],
                "percpu_user": [int(words[1]) for words in table],
            }),
            "kernel": ticks["system"] * _TICK_NS,
            "user": ticks["user"] * _TICK_NS,
        }  # fmt: skip
    throttling = {}
    if "cpu" in paths:
        stat = CpuController(_Node(paths["cpu"])).get_content("stat") or {}
        throttling = without_zeros({
            "periods": stat.get("nr_periods", 0),
            "throttledPeriods": stat.get("nr_throttled", 0),
            "throttledTime": stat.get("throttled_time", 0),
        })  # fmt: skip
    return {"usage": usage, "throttling": throttling}


def _cpuset(directory: str) -> dict[str, Any]:
    from cgroupspy.controllers import CpuSetController

    controller = CpuSetController(_Node(directory))
    found: dict[str, Any] = {"cpus": sorted(controller.cpus), "mems": sorted(controller.mems)}
    for name in _CPUSET:
        found[name] = int(controller.get_property(f"cpuset.{name}".encode()))
    return found


def _memory(directory: str) -> dict[str, Any]:
    from cgroupspy.controllers import MemoryController

    raw = MemoryController(_Node(directory)).stat
    kinds = {"usage": "", "swap": ".memsw", "kernel": ".kmem", "kernelTCP": ".kmem.tcp"}
    found: dict[str, Any] = without_zeros({"cache": raw.get("cache", 0)})
    for kind, part in kinds.items():
        values = {
            name: number(f"{directory}/memory{part}.{name}") or 0
            for name in ("usage_in_bytes", "max_usage_in_bytes", "limit_in_bytes", "failcnt")
        }
        usage, highest, limit, failures = values.values()
        found[kind] = entry(usage, highest, limit, failures)
    return {**found, "raw": raw}


def _blkio(directory: str) -> dict[str, Any]:
    """From the first scheduler that counts anything; throttling counts for any other."""
    for prefix in ("blkio.bfq.", "blkio.", "blkio.throttle."):
        found = {key: _device_table(f"{directory}/{prefix}{name}") for key, name in _BLKIO.items()}
        if found["ioServicedRecursive"]:
            return without_zeros(found)
    return {}


def _device_table(path: str) -> list[dict[str, Any]]:
    """Lines of ``8:0 Read 123`` or ``8:0 123``; the totals have no device."""
    found = []
    for words in lines(path):
        major, colon, minor = words[0].partition(":")
        if colon:
            operation = words[1] if len(words) > 2 else ""
            found.append(device_entry(int(major), int(minor), operation, int(words[-1])))
    return found


def _hugetlb(directory: str) -> dict[str, Any]:
    found = {}
    for size in stats_v2.page_sizes():
        for name in (f"{directory}/hugetlb.{size}.rsvd", f"{directory}/hugetlb.{size}"):
            usage = number(f"{name}.usage_in_bytes")
            if usage is not None:
                highest = number(f"{name}.max_usage_in_bytes")
                values = without_zeros({"usage": usage, "max": highest})
                found[size] = {**values, "failcnt": number(f"{name}.failcnt") or 0}
                break
    return found
