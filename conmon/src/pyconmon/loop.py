"""The epoll loop: descriptors, timers and signals, and no wake-up without one of them."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
PRIORITY = select.EPOLLPRI
HANGUP = select.EPOLLHUP | select.EPOLLERR
EDGE = select.EPOLLET

# The default makes room for 1023 at each call.
_EVENTS_AT_ONCE = 16


class Loop:
    """Calls handlers until ``stop``.

    A handler gets the epoll events and must cope with a spurious call: its descriptors do not
    block, so that a read that finds nothing returns at once.
    """

    __slots__ = ("_epoll", "_handlers", "_pending", "_signals", "_stopped", "_timers", "_wake_fds")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._signals: dict[int, Callable[[int], None]] = {}
        self._pending: set[int] = set()
        self._stopped = False
        self._wake_fds = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        self.watch(self._wake_fds[0], READ, self._wake)
        _signal.set_wakeup_fd(self._wake_fds[1], warn_on_full_buffer=False)

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler`` when one of ``events`` (or a hang-up) comes on ``fd``."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Watch for other events; an edge that was reported is looked for again."""
        self._epoll.modify(fd, events)

    def watches(self, fd: int) -> bool:
        """Whether a handler waits for ``fd``."""
        return fd in self._handlers

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before ``fd`` is closed."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def after(self, delay_s: float, handler: Callable[[], None]) -> None:
        """Call ``handler`` once, ``delay_s`` seconds from now."""
        self._timers.append((time.monotonic() + delay_s, handler))
        self._timers.sort(key=lambda timer: timer[0])

    def cancel(self, handler: Callable[[], None]) -> None:
        """Forget the timers that would call ``handler``."""
        self._timers = [timer for timer in self._timers if timer[1] != handler]

    def on_signal(self, number: int, handler: Callable[[int], None]) -> None:
        """Call ``handler`` from the loop after the signal came, once for a burst of them."""
        self._signals[number] = handler
        _signal.signal(number, lambda caught, _frame: self._pending.add(caught))

    def raise_signal(self, number: int) -> None:
        """Handle ``number`` as if it had come: for what happened before it was caught."""
        self._pending.add(number)

    @property
    def has_signals(self) -> bool:
        """Whether a signal came that was not handled yet."""
        return bool(self._pending)

    def stop(self) -> None:
        """Let ``run`` return after the handlers of this round."""
        self._stopped = True

    def run(self) -> None:
        """Wait and call handlers until one of them calls ``stop``."""
        self._stopped = False
        self._handle_signals()
        while not self._stopped:
            for fd, events in self._epoll.poll(self._delay_s(), _EVENTS_AT_ONCE):
                handler = self._handlers.get(fd)  # an earlier handler may have forgotten it
                if handler:
                    handler(events)
            self._handle_timers()
            self._handle_signals()

    def _delay_s(self) -> float | None:
        if not self._timers:
            return None
        # epoll counts whole milliseconds; rounded up, a timer is never waited for in a spin. It
        # counts no further than 24 days, so a day is the most to wait at once.
        return min(max(0.0, self._timers[0][0] - time.monotonic()) + 0.001, 86400.0)

    def _handle_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._timers.pop(0)[1]()

    def _wake(self, _events: int) -> None:
        try:
            posix.read(self._wake_fds[0], 4096)
        except BlockingIOError:
            return

    def _handle_signals(self) -> None:
        while self._pending:
            number = self._pending.pop()
            self._signals[number](number)
