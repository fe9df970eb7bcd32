"""What pyrun asks of a scope as systemd properties (systemd.resource-control(5), "D-Bus API").

They are made from the same settings that are written to the files, as runc makes them, so a
``systemctl daemon-reload`` writes the same values again. What systemd has no property for is in
the files only; a scope with ``Delegate`` keeps it there.
"""

from __future__ import annotations

from pyrun.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyrun.linux.cgroups.devices import Rules
    from pyrun.linux.cgroups.manager import Setting

    # name, (D-Bus signature, value)
    Property = tuple[str, tuple[str, Any]]
    # quota and period as in cpu.max, and cpu.idle
    CpuNow = tuple[str, str, str]

INFINITY = (1 << 64) - 1
PREFIX = "org.systemd.property."
DEFAULT_PERIOD_US = "100000"  # Linux: Documentation/scheduler/sched-bwc.rst
# Since which version systemd has what it had not from the start.
PERIOD_VERSION = 242
CPUSET_VERSION = 244
OOM_POLICY_VERSION = 252  # of scopes
IDLE_VERSION = 252
ZSWAP_VERSION = 253
IDLE_WEIGHT = 0  # systemd's word for cpu.idle

NO_CPU_LIMIT = ("max", DEFAULT_PERIOD_US, "0")

_NUMBERS = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "cpu.weight": "CPUWeight",
    "pids.max": "TasksMax",
    # v1
    "memory.limit_in_bytes": "MemoryLimit",
    "cpu.shares": "CPUShares",
}
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}
_SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


def of_limits(
    settings: Iterable[Setting],
    version: int,
    pointer: str,
    cpu_now: CpuNow = NO_CPU_LIMIT,
) -> list[Property]:
    """The properties that stand for ``settings``, as far as there are any.

    Args:
        settings: from ``limits_v1`` or ``limits_v2``; a later one wins, as it does in the files.
        version: of systemd.
        pointer: the place of the resources.
        cpu_now: quota, period and idle as they are, of which a setting may change one alone.

    Raises:
        ConfigError: a value cannot be understood.
    """
    found: list[Property] = []
    quota, period, idle = cpu_now
    per_second = None
    for _, name, value, where in settings:
        try:
            if name in _NUMBERS:
                # systemd refuses 0 where 1 does the same: one task is there, one byte is no page
                least = 1 if name in ("pids.max", "memory.max", "memory.high") else 0
                found.append((_NUMBERS[name], ("t", max(least, _number(value)))))
            elif name == "memory.zswap.max" and version >= ZSWAP_VERSION:
                found.append(("MemoryZSwapMax", ("t", _number(value))))
            elif name == "cpu.idle":
                idle = str(int(value))
            elif name in ("io.weight", "io.bfq.weight"):
                found += _io_weight(name, value.split())
            elif name in _SETS and version >= CPUSET_VERSION:
                found.append((_SETS[name], ("ay", cpu_mask(value))))
            elif name == "memory.oom.group" and version >= OOM_POLICY_VERSION:
                # else systemd writes its own policy to the file whenever it reloads
                policy = "kill" if int(value) else "continue"
                found.append(("OOMPolicy", ("s", policy)))
            elif name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"):
                words = value.split()
                if name != "cpu.cfs_period_us":
                    quota = words.pop(0)
                period = words[0] if words else period
                per_second = _quota(quota, period)
        except (ValueError, IndexError) as error:
            raise ConfigError(f"{pointer}{where}", f"{value!r}: {error}") from error
    if idle != cpu_now[2] and version >= IDLE_VERSION:
        # else a reload of systemd ends it; an idle group takes no other weight
        weights = [one for one in found if one[0] == "CPUWeight"]
        if idle != "0":
            found = [one for one in found if one not in weights]
            found.append(("CPUWeight", ("t", IDLE_WEIGHT)))
        elif not weights:
            found.append(("CPUWeight", ("t", INFINITY)))
    if per_second is not None:
        found.append(("CPUQuotaPerSecUSec", ("t", per_second)))
    if period != cpu_now[1] and version >= PERIOD_VERSION:
        found.append(("CPUQuotaPeriodUSec", ("t", int(period))))
    return found


def _number(text: str) -> int:
    """``max`` and -1 are infinity, which systemd writes as the highest number; ``1M`` is a size."""
    clean = text.strip()
    shift = _UNITS.get(clean[-1:].lower(), 0)
    value = INFINITY if clean == "max" else int(clean[:-1] if shift else clean) << shift
    if not -1 <= value <= INFINITY:
        raise ValueError("is out of range")
    return INFINITY if value == -1 else value


def _io_weight(name: str, words: list[str]) -> list[Property]:
    """The weight for all devices; systemd leaves that of a single one in the file alone."""
    if len(words) == 2 and words[0] != "default":
        return []
    weight = int(words[-1])
    if name == "io.bfq.weight" and weight > 100:
        # so that systemd computes this one from it: 100 is 100, 1000 is 10000
        weight = 100 + (weight - 100) * 9900 // 900
    return [("IOWeight", ("t", weight))]


def _quota(quota: str, period: str) -> int:
    """Microseconds of a second, rounded up to the 1 % in which systemd counts."""
    limit, length = _number(quota), int(period)
    if length <= 0:
        raise ValueError("the period must be positive")
    if limit == INFINITY:
        return INFINITY
    return -(-(limit * 1000000 // length) // 10000) * 10000


def with_systemd_quota(resources: dict[str, Any], period: str) -> dict[str, Any]:
    """``resources`` with the quota that systemd makes of theirs, so that the file says the same.

    Args:
        resources: ``linux.resources``.
        period: of the cgroup as it is, for resources that name none.
    """
    cpu = resources.get("cpu") or {}
    quota = cpu.get("quota") or 0
    if quota <= 0:
        return resources
    length = cpu.get("period") or int(period)
    per_second = _quota(str(quota), str(length))
    return {**resources, "cpu": {**cpu, "quota": max(quota, per_second * length // 1000000)}}


def cpu_mask(text: str) -> bytes:
    """``0-2,8`` as bits, the lowest first (cpuset(7), "List format").

    Raises:
        ValueError: it is no such list.
    """
    mask = 0
    for part in text.split(","):
        if not part.strip():
            continue
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high < 1 << 16:
            raise ValueError("is not a list of numbers and ranges")
        mask |= (1 << high + 1) - (1 << low)
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def of_devices(rules: Rules, proc_devices: str) -> list[Property]:
    """``DevicePolicy`` and ``DeviceAllow``, which replaces what was allowed before.

    systemd knows allowed devices only, by number or by the name of a major number. Where that
    cannot say it, its own filter stays off and the one that pyrun attaches stands alone: two
    filters both have to agree, so systemd's must never be the stricter one.

    Args:
        rules: from ``devices.evaluate``.
        proc_devices: the text of /proc/devices.
    """
    none: list[Property] = [("DevicePolicy", ("s", "auto")), ("DeviceAllow", ("a(ss)", []))]
    if rules.allow:
        return none
    names = _major_names(proc_devices)
    entries = []
    for (kind, major, minor), access in rules.exceptions.items():
        word = {"c": "char", "b": "block"}[kind]
        if major == minor == -1:
            node = f"{word}-*"
        elif major != -1 and minor != -1:
            node = f"/dev/{word}/{major}:{minor}"
        elif (kind, major) in names:
            node = f"{word}-{names[kind, major]}"
        else:
            return none
        entries.append((node, "".join(letter for letter in "rwm" if letter in access)))
    return [
        ("DevicePolicy", ("s", "strict")),
        ("DeviceAllow", ("a(ss)", [])),
        ("DeviceAllow", ("a(ss)", entries)),
    ]


def _major_names(text: str) -> dict[tuple[str, int], str]:
    """/proc/devices (proc(5)); a major number with two names has the first."""
    found: dict[tuple[str, int], str] = {}
    kind = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("Character"):
            kind = "c"
        elif line.startswith("Block"):
            kind = "b"
        elif kind and len(words) == 2:
            found.setdefault((kind, int(words[0])), words[1])
    return found


def of_annotations(annotations: dict[str, str]) -> list[Property]:
    """``org.systemd.property.NAME`` with a value in GVariant's text format, as runc has it.

    A name that ends in ``Sec`` takes seconds, as in unit files, and is passed as ``USec``.

    Raises:
        ConfigError: a name or a value cannot be understood.
    """
    found = []
    for key, text in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        pointer = f"/annotations/{key.replace('~', '~0').replace('/', '~1')}"
        if not (name.isascii() and name.isalpha() and len(name) > 2):
            raise ConfigError(pointer, f"{name!r} cannot be the name of a systemd property")
        from pyrun.linux.cgroups import gvariant

        try:
            kind, value = gvariant.parse(text)
            if name.endswith("Sec") and name[-4].islower():
                name, kind, value = _microseconds(name, kind, value)
        except ValueError as error:
            raise ConfigError(pointer, f"{text!r} is not a GVariant text: {error}") from error
        found.append((name, (kind, value)))
    return found


def _microseconds(name: str, kind: str, value: Any) -> tuple[str, str, int]:
    if kind not in "ynqiuxtd":
        raise ValueError("a time must be a number of seconds")
    return name.removesuffix("Sec") + "USec", "t", int(value * 1000000)
