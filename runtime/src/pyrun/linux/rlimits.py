"""Resource limits of a process (runtime-spec config.md, "POSIX process", ``rlimits``)."""

from __future__ import annotations

import resource

from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def apply(pid: int, limits: list[dict[str, Any]]) -> None:
    """Set ``process.rlimits`` of another process, from outside of its user namespace.

    Raises:
        ConfigError: a type is unknown.
        KernelError: the kernel refused; raising a hard limit needs CAP_SYS_RESOURCE.
    """
    for index, limit in enumerate(limits):
        name = limit["type"]
        number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
        if number is None:
            raise ConfigError(f"/process/rlimits/{index}/type", f"unknown limit {name!r}")
        soft, hard = _word(limit["soft"]), _word(limit["hard"])
        try:
            resource.prlimit(pid, number, (soft, hard))
        except ValueError as error:  # CPython's word for EINVAL, and for EPERM of a hard limit
            before = resource.prlimit(pid, number)[1]
            problem = "Operation not permitted" if hard > before >= 0 else str(error)
            raise KernelError(f"set {name} to {soft}:{hard} (it is {before})", problem) from error
        except OSError as error:
            before = resource.prlimit(pid, number)[1]
            raise KernelError(f"set {name} to {soft}:{hard} (it is {before})", error) from error


def _word(value: int) -> int:
    """Python takes the kernel's unsigned word as a signed one, RLIM_INFINITY as -1."""
    return value - (1 << 64) if value >= 1 << 63 else value
