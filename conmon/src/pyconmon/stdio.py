"""The container's streams: what comes from it, and the pipes that it is given."""

from __future__ import annotations

import fcntl
import posix

from pyconmon import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TAIL_BYTES = 4096
_READ_BYTES = 32768
# As much of what the runtime prints is held back, in case it is the reason of a failure.
_HELD_BYTES = 8191
_READS_AT_ONCE = 16
# What is in a pipe or terminal at the end: 1 MiB at most unless root made the pipe larger. A
# bound, as processes that outlive the container may go on writing.
_READS_AT_END = 1024


def set_nonblocking(fd: int) -> None:
    """Let reads and writes return at once (fcntl(2), O_NONBLOCK)."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | posix.O_NONBLOCK)


def disconnect_standard_streams() -> None:
    """Let the caller see the end of the monitor's own."""
    fd = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
    for target in range(3):
        posix.dup2(fd, target, inheritable=True)
    posix.close(fd)


class Tail:
    """The end of the output."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def add(self, data: bytes) -> None:
        """Remember what came last."""
        if len(data) < TAIL_BYTES:
            data = (self.data + data)[-TAIL_BYTES:]
        self.data = data[-TAIL_BYTES:]


class Output:
    """One stream from the container to ``sink``.

    Until ``release`` what comes is held back: while the runtime works, its messages come through
    the container's standard error, and are the reason of a failure or else output like any other.
    """

    __slots__ = ("_edge", "_fd", "_first", "_held", "_loop", "_stream", "sink")

    def __init__(
        self, the_loop: loop.Loop, stream: int, sink: Callable[[int, bytes], None]
    ) -> None:
        self._loop = the_loop
        self._stream = stream
        self.sink = sink
        self._held: bytes | None = b""
        self._first = b""
        self._fd = -1
        self._edge = 0

    @property
    def is_open(self) -> bool:
        """Whether something may still come."""
        return self._fd >= 0

    def fileno(self) -> int:
        """Where it comes from, or -1 when nothing will."""
        return self._fd

    def open(self, fd: int, *, terminal: bool = False) -> None:
        """Read from ``fd``, which this object will close."""
        set_nonblocking(fd)
        self._fd = fd
        # A terminal that no process has open hangs up again and again until one opens it, which
        # edge triggering reports once.
        self._edge = loop.EDGE if terminal else 0
        self._loop.watch(fd, loop.READ | self._edge, self._ready)

    def pause(self) -> None:
        """Let the container wait when the pipe is full."""
        if self._fd >= 0:
            self._loop.forget(self._fd)

    def resume(self) -> None:
        """Read on after ``pause``."""
        if self._fd >= 0 and not self._loop.watches(self._fd):
            self._loop.watch(self._fd, loop.READ | self._edge, self._ready)

    def _ready(self, events: int) -> None:
        if self._edge:
            # Bounded, or a container that writes without end could not be interrupted.
            if self.drain(_READS_AT_ONCE) and self._loop.watches(self._fd):
                self._loop.change(self._fd, loop.READ | self._edge)
            return
        # Who just writes goes on before us: a full pipe costs as much to read as a single line.
        posix.sched_yield()
        if not self._read() and events & loop.HANGUP:
            self.close()

    def _read(self) -> bool:
        """Pass on one block; ``False`` when there is nothing now or at all."""
        try:
            data = posix.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: no process has the terminal open
            return False
        if not data:
            if not self._edge:
                self.close()
            return False
        if self._held is not None:
            self._held += data
            if len(self._held) > _HELD_BYTES:
                first = self._held[:_HELD_BYTES]
                self.release()
                self._first = first
        else:
            self.sink(self._stream, data)
        return True

    def drain(self, reads: int = _READS_AT_END) -> bool:
        """Pass on what is there now; ``True`` when there may be more."""
        return all(self._fd >= 0 and self._read() for _ in range(reads))

    def first_words(self) -> str:
        """What came first while output was held back, as text."""
        return (self._held or self._first).decode("utf-8", "surrogateescape")

    def release(self) -> None:
        """Pass on what was held back, and everything from now on."""
        held, self._held, self._first = self._held, None, b""
        if held:
            self.sink(self._stream, held)

    def close(self) -> None:
        """Read no more."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            posix.close(self._fd)
            self._fd = -1


class Pipes:
    """The ends of the container's pipes that the runtime gets; closed after it has them."""

    __slots__ = ("child_fds", "stderr_fd", "stdin_fd", "stdout_fd")

    def __init__(self, *, stdin: bool, stdout: bool) -> None:
        null_fd = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        self.stdin_fd = self.stdout_fd = -1
        child_in = child_out = -1
        if stdin:
            child_in, self.stdin_fd = posix.pipe2(posix.O_CLOEXEC)
            set_nonblocking(self.stdin_fd)
        if stdout:
            self.stdout_fd, child_out = posix.pipe2(posix.O_CLOEXEC)
        self.stderr_fd, child_err = posix.pipe2(posix.O_CLOEXEC)
        self.child_fds = (
            child_in if stdin else posix.dup(null_fd),
            child_out if stdout else posix.dup(null_fd),
            child_err,
        )
        posix.close(null_fd)

    def close_child_side(self) -> None:
        """Leave these ends to the container, or the end of its output would never show."""
        for fd in self.child_fds:
            posix.close(fd)
