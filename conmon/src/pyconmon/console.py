"""The container's terminal and the socket it comes from; loaded for ``--terminal`` only."""

from __future__ import annotations

import _socket
import errno
import fcntl
import posix
import sys
import termios

from pyconmon import diagnostics, loop, passing
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NAME_TRIES = 100


class ConsoleSocket:
    """The socket over which the runtime sends the terminal's master (runc's terminals.md)."""

    __slots__ = ("_connection", "_loop", "_on_failure", "_on_terminal", "_socket", "path")

    def __init__(
        self,
        the_loop: loop.Loop,
        on_terminal: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._loop = the_loop
        self._on_terminal = on_terminal
        self._on_failure = on_failure
        self._connection: _socket.socket | None = None
        kind = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        self._socket: _socket.socket | None = _socket.socket(_socket.AF_UNIX, kind)
        self.path = _bind_in_temporary_directory(self._socket)
        self._socket.listen(1)
        the_loop.watch(self._socket.fileno(), loop.READ, self._accept)

    def _accept(self, _events: int) -> None:
        if self._socket is None:
            return
        try:
            fd, _ = self._socket._accept()  # type: ignore[attr-defined]  # what socket.accept uses
        except BlockingIOError:
            return
        self.close()  # one terminal and no more
        self._connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        self._connection.setblocking(False)
        self._loop.watch(fd, loop.READ, self._receive)

    def _receive(self, _events: int) -> None:
        if self._connection is None:
            return
        try:
            fds = passing.receive_fds(self._connection, 1)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_failure(f"Failed to receive console file descriptor: {error.strerror}")
            return
        self._loop.forget(self._connection.fileno())
        self._connection.close()
        self._connection = None
        if fds:
            self._on_terminal(fds[0])
        else:
            self._on_failure("Failed to receive console file descriptor: the runtime sent none")

    def receive_waiting(self) -> None:
        """Take what the runtime has sent before it ended, however late the loop would have."""
        self._accept(0)
        self._receive(0)

    def close(self) -> None:
        """Stop listening and remove the socket's file."""
        if self._socket is None:
            return
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._socket = None
        try:
            posix.unlink(self.path)
        except OSError as error:
            diagnostics.warn(f"failed to unlink {self.path}: {error.strerror}")


def _bind_in_temporary_directory(sock: _socket.socket) -> str:
    given = posix.environ.get(b"TMPDIR", b"/tmp").decode("utf-8", "surrogateescape")
    # The runtime connects by this path, which a socket address limits to 107 bytes.
    directory = given if len(given) < 80 else "/tmp"
    posix.fchmod(sock.fileno(), 0o700)
    for _ in range(_NAME_TRIES):
        path = f"{directory}/conmon-term.{posix.urandom(3).hex().upper()}"
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise MonitorError(f"Failed to bind to console-socket {path}", error) from error
        return path
    raise MonitorError(f"Failed to bind to console-socket: no free name in {directory}")


def prepare_terminal(fd: int) -> None:
    """Let the terminal end its lines with CR LF, as Kubernetes expects it."""
    try:
        attributes = termios.tcgetattr(fd)
        attributes[1] |= termios.ONLCR
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
    except termios.error as error:
        diagnostics.warn(f"Failed to set console terminal settings: {error.args[-1]}")


def resize(fd: int, height: int, width: int) -> None:
    """Set the window size of a terminal (ioctl_tty(2), TIOCSWINSZ)."""
    size = height.to_bytes(2, sys.byteorder) + width.to_bytes(2, sys.byteorder) + bytes(4)
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, size)
    except OSError as error:
        diagnostics.warn(f"Failed to set process pty terminal size: {error.strerror}")
