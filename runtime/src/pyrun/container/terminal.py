"""Relays between the caller's terminal and the container's, for ``run`` and ``exec --tty``."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import errno
import fcntl
import posix
import select
import termios

from pyrun.container import attached, foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.container import notify

_CHUNK_BYTES = 1 << 16


def relay(pid: int, master_fd: int, listener: notify.Listener | None = None) -> int:
    """Copy both ways until the process ends; returns its exit status.

    Args:
        pid: a child of this process.
        master_fd: of the container's terminal.
        listener: to whom SIGIO belongs, if there is one.
    """
    saved = _settings() if posix.isatty(0) else None
    own_tty = saved is not None
    pid_fd = posix.pidfd_open(pid)
    try:
        for number in attached.forwarded():
            _signal.signal(number, lambda caught, _frame: foreground.send(pid, caught))
        if listener:
            _signal.signal(_signal.SIGIO, lambda *_: listener.forward())
        _signal.signal(_signal.SIGCHLD, lambda *_: foreground.reap_orphans(pid))
        if own_tty:
            _signal.signal(_signal.SIGWINCH, lambda *_: _copy_size(master_fd))
            _copy_size(master_fd)
            _set_raw()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())  # what was held comes now
        _copy(master_fd, pid_fd)
    finally:
        attached.hold_signals()  # once it has been waited for, its number may be another process's
        posix.close(pid_fd)
        if saved and _settings():
            termios.tcsetattr(0, termios.TCSANOW, saved)
    return foreground.status_of(posix.waitpid(pid, 0)[1])


def _settings() -> list[Any] | None:
    """Those of the caller's terminal; None once it has been hung up."""
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _copy_size(master_fd: int) -> None:
    size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(master_fd, termios.TIOCSWINSZ, size)


def _set_raw() -> None:
    """Pass every key on as it is (cfmakeraw(3)); the container's terminal interprets them."""
    flags = termios.tcgetattr(0)
    flags[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
        | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    flags[2] = flags[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    flags[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(0, termios.TCSANOW, flags)


def _copy(master_fd: int, pid_fd: int) -> None:
    """Copy both ways; never wait for the container to read, which may wait for us to read."""
    posix.set_blocking(master_fd, False)
    terminal_open = input_open = True
    waiting = b""  # what the terminal had no room for
    while True:
        poll = select.poll()
        poll.register(pid_fd, select.POLLIN)
        if terminal_open:
            poll.register(master_fd, select.POLLIN | (select.POLLOUT if waiting else 0))
        if terminal_open and input_open and not waiting:
            poll.register(0, select.POLLIN)
        events = dict(poll.poll())
        found = events.get(master_fd, 0)
        if found & ~select.POLLOUT:
            chunk = _read(master_fd)
            terminal_open = bool(chunk)
            _write(1, chunk)
        elif pid_fd in events:  # and nothing is left to show
            return
        if found & select.POLLOUT:
            waiting = _write_some(master_fd, waiting)
        if 0 in events:
            chunk = _read(0)
            input_open = bool(chunk)
            # what the end of a file is on a terminal
            waiting = _write_some(master_fd, chunk or b"\x04")


def _read(fd: int) -> bytes:
    try:
        return posix.read(fd, _CHUNK_BYTES)
    except OSError as error:
        if error.errno == errno.EIO:  # the last one let go of the terminal
            return b""
        raise


def _write(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[posix.write(fd, data) :]
    except OSError as error:
        if error.errno not in (errno.EIO, errno.EPIPE):  # nobody there to read it
            raise


def _write_some(fd: int, data: bytes) -> bytes:
    """Write what there is room for; returns the rest."""
    try:
        return data[posix.write(fd, data) :]
    except BlockingIOError:
        return data
    except OSError as error:
        if error.errno != errno.EIO:  # nobody there to read it
            raise
        return b""
