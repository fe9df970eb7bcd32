"""pyconmon's own messages: conmon's lines on standard error, and syslog with ``--syslog``.

After the monitor has left its caller, standard error is /dev/null; then syslog is the only place
where a warning can be read, and an error also goes through the sync pipe.
"""

from __future__ import annotations

import posix
import time

ERROR = 0
WARNING = 1
INFO = 2
DEBUG = 3
TRACE = 4

LEVELS = {
    "error": ERROR, "fatal": ERROR, "panic": ERROR, "warn": WARNING, "warning": WARNING,
    "info": INFO, "debug": DEBUG, "trace": TRACE,
}  # fmt: skip

_LETTERS = "ewidd"
_NAMES = ("error", "nwarn", "ninfo", "ndebug", "ntrace")
# syslog's facility user (1) with the severities of RFC 5424, as conmon maps them.
_PRIORITIES = (8 + 3, 8 + 6, 8 + 6, 8 + 6, 8 + 6)

level = WARNING
_container = ""
_to_syslog = False


def configure(level_name: str | None, container: str, tag: str | None, to_syslog: bool) -> None:
    """Set the least urgent level that is written and the name that syslog lines carry."""
    global level, _container, _to_syslog
    level = LEVELS[(level_name or "warning").lower()]
    _container = f"{container}: {tag}" if tag else container
    _to_syslog = to_syslog


def write(severity: int, text: str) -> None:
    """Write one message; a message that nobody can take is dropped, never raised."""
    if severity > level:
        return
    _send(2, f"[conmon:{_LETTERS[severity]}]: {text}\n")
    if _to_syslog:
        _write_syslog(severity, text)


def error(text: str) -> None:
    """What ends the monitor, or loses the exit of a container."""
    write(ERROR, text)


def warn(text: str) -> None:
    """What is lost or ignored while the container goes on."""
    write(WARNING, text)


def info(text: str) -> None:
    """An event in the container's life."""
    write(INFO, text)


def debug(text: str) -> None:
    """A detail for whoever looks for a fault in pyconmon."""
    write(DEBUG, text)


def encode(text: str) -> bytes:
    """Bytes of a text that may hold undecodable parts of a path or an argument."""
    return text.encode("utf-8", "surrogateescape")


def _send(fd: int, text: str) -> None:
    try:
        posix.write(fd, encode(text))
    except OSError:
        return  # closed or full: there is no other place to say so


def _write_syslog(severity: int, text: str) -> None:
    import _socket

    # To the letter as conmon's syslog(3) writes it, the space before the newline included.
    line = (
        f"<{_PRIORITIES[severity]}>{time.strftime('%b %e %T')} conmon:"
        f" conmon {_container[:20]} <{_NAMES[severity]}>: {text} \n"
    )
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
    try:
        sock.connect("/dev/log")
        sock.send(encode(line))
    except OSError:
        return  # no syslog on this machine
    finally:
        sock.close()
