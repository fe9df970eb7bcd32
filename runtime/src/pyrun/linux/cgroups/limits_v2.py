"""``linux.resources`` as files of cgroup2 (runtime-spec config-linux.md, "Control groups").

The specification's units are v1's; they are converted as runc 1.5 and crun 1.27 do. What cgroup2
cannot express is refused by name. As in runc, a 0 where 0 would make no sense means "not set".
"""

from __future__ import annotations

from pyrun import names
from pyrun.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrun.linux.cgroups.manager import Setting

NOT_IN_V2 = "has no equivalent in cgroup2"


def settings(
    resources: dict[str, Any], directory: str, pointer: str = "/linux/resources"
) -> list[Setting]:
    """Every limit but devices.

    Args:
        resources: ``linux.resources``.
        directory: the container's cgroup; which I/O scheduler's files it has decides a name.
        pointer: the place of ``resources``.

    Raises:
        ConfigError: cgroup2 has nothing that does this.
    """
    found: list[Setting] = []
    for section, convert in _SECTIONS.items():
        value = resources.get(section)
        if value:
            found += convert(value, directory, pointer)
    return found


def _refuse(section: dict[str, Any], keys: tuple[str, ...], pointer: str) -> None:
    for key in keys:
        if section.get(key):
            raise ConfigError(f"{pointer}/{key}", NOT_IN_V2)


def number(value: int) -> str:
    """-1 is ``max``."""
    return "max" if value == -1 else str(value)


def memory_swap(limit: int, swap: int, pointer: str) -> str:
    """v1's swap counts memory and swap together, cgroup2's counts swap alone.

    Raises:
        ConfigError: the sum is below the memory's limit, or there is no such limit.
    """
    if swap == -1:
        return "max"
    if limit <= 0:
        raise ConfigError(f"{pointer}/memory/swap", "needs memory/limit as well in cgroup2")
    if swap < limit:
        problem = f"{swap} counts memory and swap, so it cannot be below memory/limit, {limit}"
        raise ConfigError(f"{pointer}/memory/swap", problem)
    return str(swap - limit)


def cpu_weight(shares: int) -> int:
    """v1's 2..262144 with default 1024 as cgroup2's 1..10000 with default 100.

    runc 1.5 and crun 1.27 draw a curve through (2, 1), (1024, 100) and (262144, 10000); the
    straight line of before gave a container of the default 1024 only 39.
    """
    import math

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """v1's 10..1000 as the 1..10000 of io.weight."""
    return 1 + (weight - 10) * 9999 // 990


def _memory(memory: dict[str, Any], _directory: str, pointer: str) -> list[Setting]:
    keys = [key for key in ("kernel", "kernelTCP") if memory.get(key) != -1]  # unlimited it is
    _refuse(memory, (*keys, "disableOOMKiller"), f"{pointer}/memory")
    if memory.get("swappiness") is not None:
        raise ConfigError(f"{pointer}/memory/swappiness", NOT_IN_V2)
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    found: list[Setting] = []
    if limit == -1 and not swap:
        swap = -1
    if swap:
        value = memory_swap(limit, swap, pointer)
        found.append(("memory", "memory.swap.max", value, "/memory/swap"))
    if limit:
        found.append(("memory", "memory.max", number(limit), "/memory/limit"))
    if memory.get("reservation"):
        value = number(memory["reservation"])
        found.append(("memory", "memory.low", value, "/memory/reservation"))
    return found


def _cpu(cpu: dict[str, Any], _directory: str, pointer: str) -> list[Setting]:
    _refuse(cpu, ("realtimePeriod", "realtimeRuntime"), f"{pointer}/cpu")
    found: list[Setting] = []
    if cpu.get("idle") is not None:
        found.append(("cpu", "cpu.idle", str(cpu["idle"]), "/cpu/idle"))
    if cpu.get("shares") and not cpu.get("idle"):  # an idle group takes no weight
        found.append(("cpu", "cpu.weight", str(cpu_weight(cpu["shares"])), "/cpu/shares"))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if quota or period:
        words = str(quota) if quota > 0 else "max"
        if period:
            words += f" {period}"
        where = "/cpu/quota" if quota else "/cpu/period"
        found.append(("cpu", "cpu.max", words, where))
    if cpu.get("burst") is not None:
        found.append(("cpu", "cpu.max.burst", str(cpu["burst"]), "/cpu/burst"))
    found += [
        ("cpuset", f"cpuset.{key}", cpu[key], f"/cpu/{key}")
        for key in ("cpus", "mems")
        if cpu.get(key)
    ]
    return found


def _pids(pids: dict[str, Any], _directory: str, _pointer: str) -> list[Setting]:
    limit = pids.get("limit")
    if limit is None:
        return []
    # 0 is one, as with runc: a container has a process, and systemd knows no TasksMax=0
    word = str(limit or 1) if limit >= 0 else "max"
    return [("pids", "pids.max", word, "/pids/limit")]


def _block_io(block: dict[str, Any], directory: str, pointer: str) -> list[Setting]:
    _refuse(block, ("leafWeight",), f"{pointer}/blockIO")
    found: list[Setting] = []
    bfq = names.exists(f"{directory}/io.bfq.weight")
    if block.get("weight"):
        name, value = "io.weight", io_weight(block["weight"])
        if bfq:
            name, value = "io.bfq.weight", block["weight"]
        found.append(("io", name, str(value), "/blockIO/weight"))
    for index, entry in enumerate(block.get("weightDevice") or []):
        where = f"/blockIO/weightDevice/{index}"
        _refuse(entry, ("leafWeight",), pointer + where)
        if entry.get("weight"):
            name, value = "io.weight", io_weight(entry["weight"])
            if bfq:
                name, value = "io.bfq.weight", entry["weight"]
            found.append(("io", name, f"{entry['major']}:{entry['minor']} {value}", where))
    for key, word in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for index, entry in enumerate(block.get(key) or []):
            rate = entry["rate"] or "max"  # v1's 0 is no limit, and cgroup2 refuses it
            line = f"{entry['major']}:{entry['minor']} {word}={rate}"
            found.append(("io", "io.max", line, f"/blockIO/{key}/{index}"))
    return found


def _hugepages(limits: list[dict[str, Any]], directory: str, _pointer: str) -> list[Setting]:
    found: list[Setting] = []
    for index, entry in enumerate(limits):
        name, where = f"hugetlb.{entry['pageSize']}", f"/hugepageLimits/{index}"
        found.append(("hugetlb", f"{name}.max", str(entry["limit"]), where))
        # Since Linux 5.7 a mapping can be limited before its pages are touched.
        if names.exists(f"{directory}/{name}.rsvd.max"):
            found.append(("hugetlb", f"{name}.rsvd.max", str(entry["limit"]), where))
    return found


def _network(network: dict[str, Any], _directory: str, pointer: str) -> list[Setting]:
    _refuse(network, ("classID", "priorities"), f"{pointer}/network")
    return []


def _rdma(limits: dict[str, dict[str, Any]], _directory: str, _pointer: str) -> list[Setting]:
    from pyrun.linux.cgroups import limits_v1

    return limits_v1.rdma(limits)


def _unified(unified: dict[str, str], _directory: str, pointer: str) -> list[Setting]:
    """Each key is a file; its first word is the controller."""
    found: list[Setting] = []
    for name, value in unified.items():
        where = "/unified/" + name.replace("~", "~0").replace("/", "~1")
        if "/" in name or "." not in name:
            raise ConfigError(pointer + where, "is not the name of a file of cgroup2")
        lines = value.splitlines() or ["\n"]  # of nothing at all the kernel would not hear
        found += [(name.partition(".")[0], name, line, where) for line in lines]
    return found


_SECTIONS: dict[str, Callable[[Any, str, str], list[Setting]]] = {
    "memory": _memory,
    "cpu": _cpu,
    "pids": _pids,
    "blockIO": _block_io,
    "hugepageLimits": _hugepages,
    "network": _network,
    "rdma": _rdma,
    "unified": _unified,
}
