"""Processor and I/O scheduling, and the execution domain, of the process to execute.

(runtime-spec config.md, "Linux Process", ``scheduler`` and ``ioPriority``; config-linux.md,
"Personality".)
"""

from __future__ import annotations

import sys

from pyrun import syscalls
from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    JsonObject = dict[str, Any]

_POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4,
    "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x1, "SCHED_FLAG_RECLAIM": 0x2, "SCHED_FLAG_DL_OVERRUN": 0x4,
    "SCHED_FLAG_KEEP_POLICY": 0x8, "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
_ATTR_BYTES = 48  # struct sched_attr, first version
_SHORTEST_NS, _LONGEST_NS = 1 << 10, 1 << 63  # of a SCHED_DEADLINE
_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_CLASS_SHIFT = 13
_DOMAINS = {"LINUX": 0x0, "LINUX32": 0x8}


def set_policy(asked: JsonObject, pointer: str = "/process/scheduler") -> None:
    """Set ``process.scheduler`` for this process (sched_setattr(2)).

    Raises:
        ConfigError: a policy or flag is unknown.
        KernelError: the kernel refused; real-time policies need CAP_SYS_NICE.
    """
    policy = asked.get("policy")
    if policy not in _POLICIES:
        raise ConfigError(f"{pointer}/policy", f"unknown policy {policy!r}")
    flags = 0
    for index, name in enumerate(asked.get("flags") or ()):
        if name not in _FLAGS:
            raise ConfigError(f"{pointer}/flags/{index}", f"unknown flag {name!r}")
        flags |= _FLAGS[name]
    if policy == "SCHED_DEADLINE":
        _check_deadline(asked, pointer)
    words = (
        (_ATTR_BYTES, 4), (_POLICIES[policy], 4), (flags, 8), (asked.get("nice") or 0, 4),
        (asked.get("priority") or 0, 4), (asked.get("runtime") or 0, 8),
        (asked.get("deadline") or 0, 8), (asked.get("period") or 0, 8),
    )  # fmt: skip
    attributes = b"".join(
        word.to_bytes(size, sys.byteorder, signed=word < 0) for word, size in words
    )
    try:
        syscalls.sched_setattr(0, attributes)
    except OSError as error:
        raise KernelError(f"set the scheduling policy {policy}", error) from error


def _check_deadline(asked: JsonObject, pointer: str) -> None:
    """Say what the kernel calls an invalid argument (sched(7), "SCHED_DEADLINE").

    Raises:
        ConfigError: not runtime <= deadline <= period, or one is too small or too large.
    """
    runtime, deadline = asked.get("runtime", 0), asked.get("deadline", 0)
    period = asked.get("period", 0) or deadline
    for name, value in (("runtime", runtime), ("deadline", deadline), ("period", period)):
        if not _SHORTEST_NS <= value < _LONGEST_NS:
            problem = f"{value} is not between {_SHORTEST_NS} and {_LONGEST_NS} ns"
            raise ConfigError(f"{pointer}/{name}", f"SCHED_DEADLINE: {problem}")
    if not runtime <= deadline <= period:
        problem = f"runtime {runtime} <= deadline {deadline} <= period {period} does not hold"
        raise ConfigError(pointer, f"SCHED_DEADLINE: {problem}")


def set_io_priority(asked: JsonObject, pointer: str = "/process/ioPriority") -> None:
    """Set ``process.ioPriority`` for this process (ioprio_set(2)).

    Raises:
        ConfigError: the class is unknown.
        KernelError: the kernel refused.
    """
    name = asked.get("class")
    if name not in _CLASSES:
        raise ConfigError(f"{pointer}/class", f"unknown class {name!r}")
    word = _CLASSES[name] << _CLASS_SHIFT | asked.get("priority", 0)
    try:
        syscalls.ioprio_set(syscalls.IOPRIO_WHO_PROCESS, 0, word)
    except OSError as error:
        raise KernelError(f"set the I/O priority {name}", error) from error


def set_personality(asked: JsonObject, pointer: str = "/linux/personality") -> None:
    """Set ``linux.personality`` for this process (personality(2)).

    Raises:
        ConfigError: the domain is unknown, or there are flags, of which none is defined.
        KernelError: the kernel refused.
    """
    domain = asked.get("domain")
    if domain not in _DOMAINS:
        raise ConfigError(f"{pointer}/domain", f"unknown domain {domain!r}")
    if asked.get("flags"):
        raise ConfigError(f"{pointer}/flags", "no flag is supported")
    try:
        syscalls.personality(_DOMAINS[domain])
    except OSError as error:
        raise KernelError(f"set the personality {domain}", error) from error
