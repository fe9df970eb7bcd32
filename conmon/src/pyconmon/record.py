"""The exit record: ``exit.json`` beside ``exit`` in ``--persist-dir``, beyond what conmon keeps.

It answers why a container ended when nobody watched. conmon's users know nothing of the file and
remove it with the directory.
"""

from __future__ import annotations

import posix
import time

from pyconmon import caller, diagnostics, files, stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.restart import Restart

_TAIL_LINES = 10


class Life:
    """What is known of a container's life."""

    __slots__ = ("created_ns", "forwarded_signal", "health_action", "oom_killed",
                 "peak_memory_bytes", "status", "timed_out")  # fmt: skip

    def __init__(self) -> None:
        self.created_ns = 0
        self.status: int | None = None  # of waitpid; None: unknown
        self.oom_killed = False
        self.timed_out = False
        self.health_action = ""  # what was done because the container became unhealthy
        self.forwarded_signal = 0  # the last one that came to the monitor
        self.peak_memory_bytes: int | None = None

    def cause(self) -> str:
        """What ended it: timeout, health, oom, signal, forwarded-signal, exit or unknown."""
        if self.timed_out:
            return "timeout"
        if self.health_action:
            return "health"
        if self.status is None:
            return "unknown"
        if posix.WIFEXITED(self.status):
            return "exit"
        if self.oom_killed:
            return "oom"
        signal = posix.WTERMSIG(self.status)
        return "forwarded-signal" if signal == self.forwarded_signal else "signal"


def write(directory: str, life: Life, tail: bytes, code: int, restart: Restart | None) -> None:
    """Write the record; without it the exit file still tells the code."""
    status = life.status
    signal = posix.WTERMSIG(status) if status is not None and posix.WIFSIGNALED(status) else None
    fields = (
        ("version", "1"),
        ("exitCode", str(code)),
        ("signal", _number(signal)),
        ("cause", _string(life.cause())),
        ("oomKilled", "true" if life.oom_killed else "false"),
        ("created", _string(timestamp(life.created_ns))),
        ("finished", _string(timestamp(time.time_ns()))),
        ("peakMemoryBytes", _number(life.peak_memory_bytes)),
        ("restart", _restart(restart)),
        ("lastOutput", "[" + ", ".join(map(_string, _last_lines(tail))) + "]"),
    )
    text = "{" + ", ".join(f'"{name}": {value}' for name, value in fields) + "}\n"
    path = f"{directory}/exit.json"
    try:
        files.replace(path, text, sync=True)
    except OSError as error:
        diagnostics.warn(f"Failed to write exit record {path}: {error.strerror}")


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with nanoseconds."""
    second, nanosecond = divmod(time_ns, 1_000_000_000)
    utc = time.gmtime(second)
    return (
        f"{utc.tm_year}-{utc.tm_mon:02}-{utc.tm_mday:02}"
        f"T{utc.tm_hour:02}:{utc.tm_min:02}:{utc.tm_sec:02}.{nanosecond:09}Z"
    )


def _restart(restart: Restart | None) -> str:
    if restart is None:
        return "null"
    return f'{{"count": {restart.count}, "delaySeconds": {restart.delay_ms / 1000:g}}}'


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _string(text: str) -> str:
    return f'"{text.translate(caller.JSON_ESCAPES)}"'


def _last_lines(tail: bytes) -> list[str]:
    lines = tail.decode("utf-8", "replace").split("\n")
    if len(tail) == stdio.TAIL_BYTES and len(lines) > 1:
        del lines[0]  # its beginning is lost
    return [line.rstrip("\r") for line in lines if line][-_TAIL_LINES:]
