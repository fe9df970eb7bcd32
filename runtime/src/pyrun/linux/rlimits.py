"""Resource limits of a process (runtime-spec config.md, "POSIX process", ``rlimits``)."""

from __future__ import annotations

from pyrun import syscalls
from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# getrlimit(2); the numbers of every architecture but Alpha, MIPS and SPARC
_NUMBERS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}  # fmt: skip
_INFINITY = (1 << 64) - 1
_ENOUGH_BYTES = 1 << 30  # for this Python
_ENOUGH_FILES = 1024  # for the mounts that it holds open


def is_tight(limit: dict[str, Any]) -> bool:
    """Whether a limit leaves this process too little, so that it has to come last."""
    if limit["type"] == "RLIMIT_NOFILE":
        return bool(limit["hard"] < _ENOUGH_FILES)
    return limit["type"] in ("RLIMIT_AS", "RLIMIT_DATA") and limit["soft"] < _ENOUGH_BYTES


def apply(pid: int, limits: list[dict[str, Any]]) -> None:
    """Set ``process.rlimits`` of another process, from outside of its user namespace.

    Raises:
        ConfigError: a type is unknown.
        KernelError: the kernel refused; raising a hard limit needs CAP_SYS_RESOURCE.
    """
    for index, limit in enumerate(limits):
        name, soft, hard = limit["type"], limit["soft"], limit["hard"]
        number = _NUMBERS.get(name)
        if number is None:
            raise ConfigError(f"/process/rlimits/{index}/type", f"unknown limit {name!r}")
        try:
            syscalls.prlimit(pid, number, soft, hard)
        except OSError as error:
            before = syscalls.getrlimit(pid, number)[1]
            known = "unlimited" if before == _INFINITY else before
            raise KernelError(f"set {name} to {soft}:{hard} (it is {known})", error) from error
