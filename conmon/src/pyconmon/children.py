"""What the monitor's children start with: signals, environment, and what they do not inherit."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyconmon import diagnostics, files
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FORWARDED_SIGNALS = (_signal.SIGTERM, _signal.SIGQUIT, _signal.SIGINT)
_CANNOT_EXECUTE = 127

_given_mask: list[int] = []  # the signals that the caller had blocked


def unblock_signals() -> None:
    """Let signals come that the caller may have blocked: for the monitor, not for its children."""
    awaited = (_signal.SIGCHLD, _signal.SIGHUP, _signal.SIGUSR1, *FORWARDED_SIGNALS)
    remember_mask(sorted(_signal.pthread_sigmask(_signal.SIG_UNBLOCK, awaited)))


def given_mask() -> list[int]:
    """The signals that the caller had blocked."""
    return _given_mask


def remember_mask(mask: list[int]) -> None:
    """What ``given_mask`` answered before this process executed another program."""
    global _given_mask
    _given_mask = mask


def start(name: str, become: Callable[[], None]) -> int:
    """Fork a child that becomes something else, and return its pid.

    Args:
        name: of the program, for the message that the child leaves on its standard error.
        become: called in the child; ends in execve or an error.

    Raises:
        MonitorError: the fork failed.
    """
    # A signal meant for the child must not end in the handlers that it inherits from us.
    old_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED_SIGNALS)
    try:
        pid = posix.fork()
    except OSError as error:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, old_mask)
        raise MonitorError(f"Failed to fork a child for {name}", error) from error
    if pid:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, old_mask)
        return pid
    try:
        _reset_signals()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, _given_mask)
        become()
    except (OSError, MonitorError, ImportError) as error:
        text = error.strerror if isinstance(error, OSError) else error
        posix.write(2, diagnostics.encode(f"{name}: {text}\n"))
    finally:
        posix._exit(_CANNOT_EXECUTE)


def _reset_signals() -> None:
    """Give a child back what Python ignores and what the loop catches."""
    _signal.set_wakeup_fd(-1)
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD, *FORWARDED_SIGNALS):
        _signal.signal(number, _signal.SIG_DFL)


def environment() -> dict[bytes, bytes]:
    """The environment that the caller gave, without what the interpreter added to it.

    In the C locale Python sets LC_CTYPE for itself and its children (PEP 538).
    """
    inherited: dict[bytes, bytes] = posix.environ
    if inherited.get(b"LC_CTYPE") == b"C.UTF-8":
        given = files.read_all("/proc/self/environ")
        if b"LC_CTYPE=C.UTF-8" not in given.split(b"\0"):
            del inherited[b"LC_CTYPE"]
    return inherited


def inherited_fds() -> set[int]:
    """The descriptors beyond standard error that the caller left open for us."""
    directory_fd = posix.open("/proc/self/fd", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        found = {int(name) for name in posix.listdir(directory_fd)}
    finally:
        posix.close(directory_fd)
    # One is listdir's own; what it was is closed by now.
    return {fd for fd in found if fd > 2 and fd != directory_fd and _is_inheritable(fd)}


def _is_inheritable(fd: int) -> bool:
    try:
        return posix.get_inheritable(fd)
    except OSError:
        return False


def kill_group(pid: int) -> None:
    """Kill the process group of a container, but never the monitor's own or init's."""
    try:
        group = posix.getpgid(pid)
        if group > 1 and group != posix.getpgrp():
            posix.killpg(group, _signal.SIGKILL)
        else:
            posix.kill(pid, _signal.SIGKILL)
    except ProcessLookupError:
        diagnostics.debug(f"process {pid} ended before it was killed")
