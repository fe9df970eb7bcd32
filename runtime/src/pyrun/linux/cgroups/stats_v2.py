"""What a container uses, from cgroup2, under the names that runc's ``events`` gives it.

As in runc, what is zero is left out where a reader of its JSON takes it for zero.
"""

from __future__ import annotations

import posix

from pyrun.linux.cgroups.hierarchy import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNLIMITED = (1 << 64) - 1
HUGE_PAGES = "/sys/kernel/mm/hugepages"
# key and operation in v1's words of what io.stat counts
_IO = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def read(directory: str) -> dict[str, Any]:
    """Every section but those of other kernel parts.

    Args:
        directory: the container's cgroup.
    """
    return {
        "cpu": _cpu(directory),
        "memory": _memory(directory),
        "pids": pids(directory),
        "blkio": _blkio(directory),
        "hugetlb": hugetlb(directory),
    }


def lines(path: str) -> list[list[str]]:
    """The words of each line; nothing where there is no such file."""
    try:
        return [line.split() for line in read_file(path).splitlines()]
    except FileNotFoundError:
        return []


def numbers(path: str) -> dict[str, int]:
    """A file of names and numbers."""
    return {words[0]: int(words[1]) for words in lines(path) if len(words) == 2}


def number(path: str) -> int | None:
    """A file with one number; ``max`` is the highest, as in runc. None without the file."""
    words = lines(path)
    if not words:
        return None
    return UNLIMITED if words[0][0] == "max" else int(words[0][0])


def without_zeros(values: dict[str, Any]) -> dict[str, Any]:
    """The members that are not zero or empty."""
    return {name: value for name, value in values.items() if value}


def entry(usage: int | None, highest: int | None, limit: int, failures: int) -> dict[str, int]:
    """A kind of memory."""
    return {"limit": limit, **without_zeros({"usage": usage, "max": highest}), "failcnt": failures}


def _cpu(directory: str) -> dict[str, Any]:
    stat = numbers(f"{directory}/cpu.stat")
    usage = {
        **without_zeros({"total": stat.get("usage_usec", 0) * 1000}),
        "kernel": stat.get("system_usec", 0) * 1000,
        "user": stat.get("user_usec", 0) * 1000,
    }
    throttling = without_zeros({
        "periods": stat.get("nr_periods", 0),
        "throttledPeriods": stat.get("nr_throttled", 0),
        "throttledTime": stat.get("throttled_usec", 0) * 1000,
    })  # fmt: skip
    return {"usage": usage, "throttling": throttling, **psi(f"{directory}/cpu.pressure")}


def _memory(directory: str) -> dict[str, Any]:
    raw = numbers(f"{directory}/memory.stat")
    empty = entry(0, 0, 0, 0)
    found = {
        **without_zeros({"cache": raw.get("file", 0)}),
        "usage": empty,
        "swap": empty,
        "kernel": empty,
        "kernelTCP": empty,
        **without_zeros({"raw": raw}),
        **psi(f"{directory}/memory.pressure"),
    }
    usage, limit = number(f"{directory}/memory.current"), number(f"{directory}/memory.max")
    if usage is not None and limit is not None:
        found["usage"] = entry(usage, number(f"{directory}/memory.peak"), limit, 0)
        swap, most = (
            number(f"{directory}/memory.swap.current"),
            number(f"{directory}/memory.swap.max"),
        )
        if swap is not None and most is not None:  # v1's swap counts both
            both = most if most == UNLIMITED else min(most + limit, UNLIMITED)
            found["swap"] = entry(swap + usage, 0, both, 0)
    return found


def pids(directory: str) -> dict[str, int]:
    """The number of processes and its limit; v1 has the same files."""
    limit = number(f"{directory}/pids.max")
    current = number(f"{directory}/pids.current")
    if current is None:
        current = len(lines(f"{directory}/cgroup.procs"))
    return without_zeros({"current": current, "limit": 0 if limit == UNLIMITED else limit})


def _blkio(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for device, *values in lines(f"{directory}/io.stat"):
        major, colon, minor = device.partition(":")
        for word in values if colon else ():
            name, _, value = word.partition("=")
            if name in _IO:
                key, operation = _IO[name]
                found.setdefault(key, []).append(
                    device_entry(int(major), int(minor), operation, int(value))
                )
    return {**found, **psi(f"{directory}/io.pressure")}


def device_entry(major: int, minor: int, operation: str, value: int) -> dict[str, Any]:
    """One count for one block device."""
    return without_zeros({"major": major, "minor": minor, "op": operation, "value": value})


def psi(path: str) -> dict[str, Any]:
    """``psi`` with the pressure stall information; nothing where the kernel does not keep it."""
    found = {}
    try:
        for kind, *values in lines(path):
            fields = dict(word.partition("=")[::2] for word in values)
            found[kind] = {
                **{name: float(fields[name]) for name in ("avg10", "avg60", "avg300")},
                "total": int(fields["total"]),
            }
    except OSError:  # EOPNOTSUPP: built in, and not switched on at boot
        return {}
    return {"psi": found} if found else {}


def page_sizes() -> list[str]:
    """``2MB`` and the like."""
    try:
        found = posix.listdir(HUGE_PAGES)
    except FileNotFoundError:
        return []
    sizes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in found)
    return [page_size(size) for size in sizes]


def page_size(kib: int) -> str:
    """As the kernel names its files."""
    for unit, shift in (("GB", 20), ("MB", 10)):
        if kib >= 1 << shift:
            return f"{kib >> shift}{unit}"
    return f"{kib}KB"


def hugetlb(directory: str) -> dict[str, Any]:
    """By page size."""
    found = {}
    for size in page_sizes():
        name = f"{directory}/hugetlb.{size}"
        usage = number(f"{name}.rsvd.current")
        if usage is None:
            usage = number(f"{name}.current")
        if usage is not None:
            failures = numbers(f"{name}.events").get("max", 0)
            found[size] = {**without_zeros({"usage": usage}), "failcnt": failures}
    return found
