"""Waits for a container or an exec'd process: signals, terminal and exit status pass through."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import os

from pyrun.container import create as creation
from pyrun.container import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.create import Request

# Not to be forwarded: what the kernel sends to this very process.
_OWN = frozenset({
    _signal.SIGCHLD, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGPIPE, _signal.SIGURG,
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGTTIN,
    _signal.SIGTTOU, _signal.SIGXFSZ, _signal.SIGXCPU, _signal.SIGTRAP, _signal.SIGSYS,
    _signal.SIGABRT,
})  # fmt: skip


def run(request: Request, *, keep: bool) -> tuple[int, list[str]]:
    """Create, start, wait and delete; returns the exit status and warnings.

    Raises:
        PyrunError: nothing of the container is left then.
    """
    entry = creation.create(request)
    try:
        lifecycle.start(entry)
    except BaseException:
        lifecycle.discard(entry)
        raise
    entry.unlock()
    status = wait(entry.state["pid"])
    if keep:
        return status, []
    from pyrun.container import store

    return status, lifecycle.delete(store.find(request.root, request.container_id, lock=True))


def wait(pid: int) -> int:
    """Wait for a child and forward every signal to it; 128 and the signal's number if killed."""
    forwarded = set(range(1, _signal.NSIG)) - _OWN - {32, 33}  # those are glibc's own
    _signal.pthread_sigmask(_signal.SIG_BLOCK, forwarded | {_signal.SIGCHLD})
    while True:
        ended, word = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(word)
            return code if code >= 0 else 128 - code
        number = _signal.sigwait(forwarded | {_signal.SIGCHLD})
        if number != _signal.SIGCHLD:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
