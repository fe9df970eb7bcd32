"""Warnings and debug lines on standard error, in podman's form; the logging module costs 14 ms."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LEVELS = {"trace": 0, "debug": 1, "info": 2, "warn": 3, "warning": 3, "error": 4, "fatal": 5}

SYSLOG = "/dev/log"
PRIORITIES = {"debug": 15, "warn": 12}  # of the facility user (RFC 3164, 4.1.1)

_threshold = LEVELS["warn"]
_syslog: Any = None  # a socket
_started_s = time.monotonic()


def set_level(name: str) -> None:
    """Print messages of this level and above; ``name`` is a key of ``LEVELS``."""
    global _threshold
    _threshold = LEVELS[name]


def also_to_syslog() -> None:
    """Send every line that is printed to syslog(3), too, where somebody listens."""
    import _socket

    global _syslog
    _syslog = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        _syslog.connect(SYSLOG)
    except OSError as error:
        _syslog.close()
        _syslog = None
        warning(f"--syslog: {SYSLOG}: {error.strerror}")


def debug(message: str) -> None:
    """Something a developer may want to know."""
    _write("debug", message)


def warning(message: str) -> None:
    """Something the user should know that did not stop the command, such as a failed clean-up."""
    _write("warn", message)


def _write(level: str, message: str) -> None:
    if LEVELS[level] >= _threshold:
        seconds = int(time.monotonic() - _started_s)
        print(f"{level.upper()[:4]}[{seconds:04}] {message}", file=sys.stderr)
        if _syslog is not None:
            text = f"<{PRIORITIES[level]}>pyengine[{os.getpid()}]: {message}"
            try:
                _syslog.send(text.encode("utf-8", "replace"))
            except OSError as error:
                print(f"WARN[{seconds:04}] send to {SYSLOG}: {error.strerror}", file=sys.stderr)
