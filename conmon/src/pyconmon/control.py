"""Requests of the caller while the container runs: window size, new log file.

They come as lines through two fifos in the bundle: ``ctl`` takes ``1 HEIGHT WIDTH`` (resize),
``2 0 0`` (reopen the logs) and, beyond conmon, ``3 0 0`` (run the health check now) and ``4 0 0``
(take new orders); ``winsz`` takes ``HEIGHT WIDTH``.
"""

from __future__ import annotations

import posix

from pyconmon import diagnostics, files, loop
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_RESIZE = 1
_REOPEN_LOGS = 2
CHECK_HEALTH = 3
TAKE_ORDERS = 4
_LARGEST_WINDOW = 1000
_LINE_BYTES = 199


class Fifo:
    """A fifo that is read line by line and never hangs up."""

    __slots__ = ("_buffer", "_fd", "_loop", "_on_line", "_path")

    def __init__(
        self, the_loop: loop.Loop, path: str, fd: int, on_line: Callable[[list[int]], None]
    ) -> None:
        """Read ``fd``, or a fifo that is made at ``path`` if that is negative."""
        self._loop = the_loop
        self._path = path
        self._on_line = on_line
        self._buffer = b""
        self._fd = fd if fd >= 0 else _make(path)
        the_loop.watch(self._fd, loop.READ, self._ready)

    def _ready(self, _events: int) -> None:
        try:
            self._buffer += posix.read(self._fd, 4096)
        except BlockingIOError:
            return
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > _LINE_BYTES:
            diagnostics.warn(f"{self._path}: a line of more than {_LINE_BYTES} bytes is ignored")
            self._buffer = b""
        for line in lines:
            try:
                numbers = [int(word) for word in line.split()]
            except ValueError:
                diagnostics.warn(f"{self._path}: Invalid control message {line!r}")
            else:
                self._on_line(numbers)

    @property
    def begun(self) -> bool:
        """Whether a line is not complete."""
        return bool(self._buffer)

    def fileno(self) -> int:
        """What is read."""
        return self._fd

    def close(self) -> None:
        """Stop reading; the file stays for the caller to remove with its bundle."""
        self._loop.forget(self._fd)
        posix.close(self._fd)


def _make(path: str) -> int:
    try:
        files.remove(path)
        posix.mkfifo(path, 0o660)
        # Open for writing as well: without a writer the kernel would report a hang-up for ever.
        return posix.open(path, posix.O_RDWR | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError as error:
        raise MonitorError(f"Failed to mkfifo at {path}", error) from error


class Control:
    """Both fifos of one bundle."""

    __slots__ = ("_fifos", "_on_reopen", "_on_request", "_on_resize")

    def __init__(
        self,
        the_loop: loop.Loop,
        bundle: str,
        on_resize: Callable[[int, int], None],
        on_reopen: Callable[[], None],
        on_request: Callable[[int], None],
        fds: tuple[int, int] = (-1, -1),
    ) -> None:
        """Make the fifos, unless ``fds`` are open already; ``on_request`` gets one of the above."""
        self._on_resize = on_resize
        self._on_reopen = on_reopen
        self._on_request = on_request
        self._fifos = (
            Fifo(the_loop, f"{bundle}/ctl", fds[0], self._request),
            Fifo(the_loop, f"{bundle}/winsz", fds[1], self._resize),
        )

    def fds(self) -> tuple[int, int] | None:
        """Their descriptors; None where a line has begun to come."""
        ctl, winsz = self._fifos
        return None if ctl.begun or winsz.begun else (ctl.fileno(), winsz.fileno())

    def _request(self, numbers: list[int]) -> None:
        kinds = (_RESIZE, _REOPEN_LOGS, CHECK_HEALTH, TAKE_ORDERS)
        if len(numbers) != 3 or numbers[0] not in kinds:
            diagnostics.warn(
                f"Invalid control message {numbers}: expected 1 HEIGHT WIDTH, or 2, 3 or 4 and 0 0"
            )
        elif numbers[0] == _REOPEN_LOGS:
            self._on_reopen()
        elif numbers[0] == _RESIZE:
            self._resize(numbers[1:])
        else:
            self._on_request(numbers[0])

    def _resize(self, numbers: list[int]) -> None:
        if len(numbers) != 2 or not all(0 <= size <= _LARGEST_WINDOW for size in numbers):
            diagnostics.warn(f"Invalid window size {numbers}: expected two numbers up to 1000")
            return
        self._on_resize(numbers[0], numbers[1])

    def close(self) -> None:
        """Stop reading both."""
        for fifo in self._fifos:
            fifo.close()
