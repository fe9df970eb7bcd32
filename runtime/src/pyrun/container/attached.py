"""What a command that waits for its process does before it starts it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyrun import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.spec.types import JsonObject

# Not to be forwarded: what the kernel sends to this very process.
_OWN = frozenset({
    _signal.SIGCHLD, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGPIPE, _signal.SIGURG,
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGTTIN,
    _signal.SIGTTOU, _signal.SIGXFSZ, _signal.SIGXCPU, _signal.SIGTRAP, _signal.SIGSYS,
    _signal.SIGABRT, _signal.SIGWINCH,
})  # fmt: skip


def console_pair(settings: JsonObject) -> tuple[int, int]:
    """Two ends of a socket: ours gets the terminal that the container process sends.

    It has the size of the caller's terminal from the beginning.
    """
    if posix.isatty(0):
        columns, lines = posix.get_terminal_size(0)
        settings["consoleSize"] = {"height": lines, "width": columns}
    return syscalls.socketpair(syscalls.SOCK_STREAM)


def forwarded() -> set[int]:
    """The signals that are the container's business."""
    return set(range(1, _signal.NSIG)) - _OWN - {32, 33}  # those two are glibc's own


def hold_signals() -> None:
    """Keep signals until they can be forwarded: the container may answer before we wait for it."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, forwarded() | {_signal.SIGCHLD})
