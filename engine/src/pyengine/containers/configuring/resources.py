"""The options of the section ``resources``: limits."""

from __future__ import annotations

import os
import stat

from pyengine.errors import ConfigError
from pyengine.specgen import cgroups
from pyengine.specgen.options import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import Resources

MIN_MEMORY_BYTES = 6 << 20  # docker's floor: below it a container cannot start
CPU_PERIOD_US = 100_000
MAX_LIMIT = 2**63 - 1  # what the kernel can count
RLIMITS = {
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
    "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}  # fmt: skip
CGROUPS = ("enabled", "disabled", "no-conmon", "split")
# Options of devices: config.json's key, and whether the value is a size.
THROTTLES = {
    "device_read_bps": ("throttleReadBpsDevice", True),
    "device_read_iops": ("throttleReadIOPSDevice", False),
    "device_write_bps": ("throttleWriteBpsDevice", True),
    "device_write_iops": ("throttleWriteIOPSDevice", False),
}
# What only the hierarchies of cgroup v1 have.
V1_ONLY = ("memory_swappiness", "oom_kill_disable", "cpu_rt_period_us", "cpu_rt_runtime_us")


def configure(wanted: ContainerOptions) -> Resources:
    """The limits in the kernel's units.

    Raises:
        ConfigError: a limit is no number, out of range, or not known to this host's cgroups.
    """
    found: Resources = {}
    _memory(found, wanted)
    _cpu(found, wanted)
    _block_io(found, wanted)
    if wanted.pids_limit is not None:
        if wanted.pids_limit > MAX_LIMIT:
            raise ConfigError(f"--pids-limit {wanted.pids_limit}: must be below {MAX_LIMIT + 1}")
        found["pids_limit"] = max(wanted.pids_limit, 0)
    if wanted.oom_score_adj is not None:
        if not -1000 <= wanted.oom_score_adj <= 1000:
            raise ConfigError(f"--oom-score-adj {wanted.oom_score_adj}: must be -1000 to 1000")
        found["oom_score_adj"] = wanted.oom_score_adj
    for text in wanted.ulimit:
        if text == "host":
            found["ulimits_of_host"] = True
        else:
            name, values = _ulimit(text)
            found.setdefault("ulimits", {})[name] = values
    if wanted.rdt_class:
        found["rdt_class"] = _rdt_class(wanted.rdt_class)
    _placement(found, wanted)
    _check_version(found)
    return found


def _memory(found: Resources, wanted: ContainerOptions) -> None:
    limit = 0
    if wanted.memory is not None:
        limit = size("--memory", wanted.memory)
        if 0 < limit < MIN_MEMORY_BYTES:
            raise ConfigError(f"--memory {wanted.memory}: must be at least 6m")
        if 2 * limit > MAX_LIMIT:  # memory and swap together
            raise ConfigError(f"--memory {wanted.memory}: must be below {MAX_LIMIT // 2 + 1} bytes")
        if limit:
            found["memory_limit_bytes"] = limit
    if wanted.memory_reservation:
        reservation = size("--memory-reservation", wanted.memory_reservation)
        if limit and reservation > limit:
            raise ConfigError(
                "minimum memory limit cannot be less than memory reservation limit: lower"
                " --memory-reservation"
            )
        found["memory_reservation_bytes"] = reservation
    if wanted.memory_swap:
        unlimited = wanted.memory_swap == "-1"
        swap = -1 if unlimited else size("--memory-swap", wanted.memory_swap)
        if not limit and not unlimited:
            raise ConfigError(
                "you should always set a memory limit when using a memoryswap limit: give --memory"
            )
        if not unlimited and swap < limit:
            raise ConfigError(
                "minimum memoryswap limit should be larger than memory limit: it counts both"
            )
        found["memory_swap_bytes"] = swap
    if wanted.memory_swappiness != -1:
        if not 0 <= wanted.memory_swappiness <= 100:
            raise ConfigError(
                f"invalid value: {wanted.memory_swappiness}, valid memory swappiness range is 0-100"
            )
        found["memory_swappiness"] = wanted.memory_swappiness
    if wanted.oom_kill_disable:
        found["oom_kill_disable"] = True


def _cpu(found: Resources, wanted: ContainerOptions) -> None:
    cpus = wanted.cpus
    if cpus:
        for option, value in (("cpu-period", wanted.cpu_period), ("cpu-quota", wanted.cpu_quota)):
            if value is not None:
                raise ConfigError(f"--{option} and --cpus cannot be set together")
        if not 0.01 <= cpus <= (os.cpu_count() or 1):  # not a number is neither
            raise ConfigError(
                f"--cpus {cpus}: must be between 0.01 and {os.cpu_count()}, the CPUs of this host"
            )
        found["cpu_quota_us"] = int(cpus * CPU_PERIOD_US)
        found["cpu_period_us"] = CPU_PERIOD_US
    if wanted.cpu_period:
        found["cpu_period_us"] = wanted.cpu_period
    if wanted.cpu_quota:
        found["cpu_quota_us"] = wanted.cpu_quota
    if wanted.cpu_rt_period:
        found["cpu_rt_period_us"] = wanted.cpu_rt_period
    if wanted.cpu_rt_runtime:
        found["cpu_rt_runtime_us"] = wanted.cpu_rt_runtime
    if wanted.cpu_shares:
        found["cpu_shares"] = wanted.cpu_shares
    if wanted.cpuset_cpus:
        found["cpuset_cpus"] = _list("--cpuset-cpus", wanted.cpuset_cpus, "cpu")
    if wanted.cpuset_mems:
        found["cpuset_mems"] = _list("--cpuset-mems", wanted.cpuset_mems, "node")


def _list(option: str, text: str, kind: str) -> str:
    """A list such as 0-2,4 of what is online (cpuset(7), "List format")."""
    try:
        wanted = _numbers(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: must be a list such as 0-2,4") from None
    try:
        with open(f"/sys/devices/system/{kind}/online", encoding="ascii") as file:
            online = file.read().strip()
    except FileNotFoundError:  # a kernel without NUMA
        online = "0"
    if not wanted <= _numbers(online):
        raise ConfigError(f"{option}: requested {text} are not available: this host has {online}")
    return text


def _numbers(text: str) -> set[int]:
    found: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        start, end = int(first), int(last if dash else first)
        if not 0 <= start <= end < 1 << 16:
            raise ValueError(text)
        found.update(range(start, end + 1))
    return found


def _block_io(found: Resources, wanted: ContainerOptions) -> None:
    if wanted.blkio_weight:
        found["blkio_weight"] = _weight("--blkio-weight", wanted.blkio_weight)
    devices: dict[str, list[tuple[str, int]]] = {}
    for text in wanted.blkio_weight_device:
        path, value = _device("--blkio-weight-device", text)
        weight = _weight("--blkio-weight-device", value)
        devices.setdefault("weightDevice", []).append((path, weight))
    for name, (key, is_size) in THROTTLES.items():
        option = f"--{name.replace('_', '-')}"
        for text in getattr(wanted, name):
            path, value = _device(option, text)
            if not is_size and not value.isdecimal():
                raise ConfigError(f"{option} {text}: the rate must be a number")
            rate = size(option, value) if is_size else int(value)
            devices.setdefault(key, []).append((path, rate))
    if devices:
        found["blkio_devices"] = devices


def _weight(option: str, text: str) -> int:
    if not text.isdecimal() or not 10 <= int(text) <= 1000:
        raise ConfigError(f"{option} {text}: the weight must be a number from 10 to 1000")
    return int(text)


def _device(option: str, text: str) -> tuple[str, str]:
    path, _, value = text.rpartition(":")
    if not path.startswith("/dev/") or not value:
        raise ConfigError(f"{option} {text}: must be /dev/NAME:VALUE")
    try:
        is_block = stat.S_ISBLK(os.stat(path).st_mode)
    except OSError as error:
        raise ConfigError(f"{option} {text}: {path}: {error.strerror}") from error
    if not is_block:
        raise ConfigError(f"{option} {text}: {path} is not a block device")
    return path, value


def _ulimit(text: str) -> tuple[str, tuple[int, int]]:
    """``NAME=SOFT[:HARD]``; -1 is unlimited."""
    name, _, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    problem = f'ulimit option "{text}" requires name=SOFT:HARD, failed to be parsed'
    if name not in RLIMITS:
        raise ConfigError(f"{problem}: invalid ulimit type: {name}")
    try:
        low, high = int(soft), int(hard if colon else soft)
    except ValueError:
        raise ConfigError(f"{problem}: the limits must be numbers") from None
    if low < -1 or high < -1 or max(low, high) > MAX_LIMIT:
        raise ConfigError(f"{problem}: the limits must be numbers, or -1 for none")
    if high != -1 and (low == -1 or low > high):
        raise ConfigError(f"{problem}: ulimit soft limit must be less than or equal to hard limit")
    return f"RLIMIT_{name.upper()}", (low, high)


def _rdt_class(name: str) -> str:
    if not os.path.isdir("/sys/fs/resctrl/info"):
        raise ConfigError(
            f"--rdt-class {name}: this host has no Intel RDT, or resctrl is not mounted at"
            " /sys/fs/resctrl"
        )
    return name


def _placement(found: Resources, wanted: ContainerOptions) -> None:
    if wanted.cgroups not in CGROUPS:
        raise ConfigError(f'invalid cgroup mode "{wanted.cgroups}": invalid argument')
    if wanted.cgroups in ("disabled", "split"):
        if wanted.cgroup_parent:
            raise ConfigError(f"--cgroup-parent cannot be set with --cgroups={wanted.cgroups}")
        found["cgroups"] = wanted.cgroups
    if wanted.cgroups == "split" and not cgroups.is_v2():
        raise ConfigError("--cgroups=split is only supported on cgroup v2")
    if wanted.cgroup_parent:
        if ".." in wanted.cgroup_parent.split("/"):
            raise ConfigError(f"--cgroup-parent {wanted.cgroup_parent}: must not contain ..")
        found["cgroup_parent"] = wanted.cgroup_parent
    if wanted.cgroup_conf:
        if not cgroups.is_v2():
            raise ConfigError("cannot use --cgroup-conf without cgroup v2")
        for text in wanted.cgroup_conf:
            name, equals, value = text.partition("=")
            if not (name and equals) or "/" in name:
                raise ConfigError(f"--cgroup-conf {text}: must be FILE=VALUE")
            found.setdefault("cgroup_conf", {})[name] = value


def _check_version(found: Resources) -> None:
    if found.get("cgroups") == "disabled":
        limits = sorted(found.keys() - {"cgroups", "ulimits", "ulimits_of_host", "oom_score_adj"})
        if limits:
            raise ConfigError(
                f"--cgroups=disabled: without a cgroup {limits[0]} cannot be honoured"
            )
    for name in V1_ONLY:
        if name in found and cgroups.is_v2():
            option = name.replace("_", "-").removesuffix("-us")
            raise ConfigError(f"--{option}: cgroup v2, which this host uses, has no such limit")
