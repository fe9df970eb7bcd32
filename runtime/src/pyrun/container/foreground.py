"""Waits for a container or an exec'd process: signals, terminal and exit status pass through."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyrun import syscalls
from pyrun.container import create as creation
from pyrun.container import lifecycle, store
from pyrun.errors import ContainerError
from pyrun.spec import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container import join
    from pyrun.container.checkpoint import Images
    from pyrun.container.create import Request
    from pyrun.container.store import Entry
    from pyrun.spec.types import JsonObject

# Not to be forwarded: what the kernel sends to this very process.
_OWN = frozenset({
    _signal.SIGCHLD, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGPIPE, _signal.SIGURG,
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGTTIN,
    _signal.SIGTTOU, _signal.SIGXFSZ, _signal.SIGXCPU, _signal.SIGTRAP, _signal.SIGSYS,
    _signal.SIGABRT, _signal.SIGWINCH,
})  # fmt: skip


def run(request: Request, *, keep: bool, adopt: bool) -> tuple[int, list[str]]:
    """Create, start, wait and delete; returns the exit status and warnings.

    Args:
        request: what is asked for.
        keep: does not delete it.
        adopt: waits for the orphans of a container without a pid namespace, too.

    Raises:
        PyrunError: nothing of the container is left then.
    """
    bundle = load.read_bundle(request.bundle, request.config_name)
    ours_fd = -1
    process = bundle.config.get("process")  # not validated yet
    wants_terminal = isinstance(process, dict) and bool(process.get("terminal"))
    if wants_terminal and not request.console_socket:
        ours_fd, request.console_fd = _console_pair(bundle.config["process"])
    hold_signals()  # of what comes meanwhile, nothing is lost and nothing left behind
    entry = creation.create(request, bundle)
    if adopt:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    _start(entry, request)
    return _follow(entry, request, ours_fd, keep=keep)


def restore(request: Request, images: Images) -> tuple[int, list[str]]:
    """Restore a container from a checkpoint, wait and delete; as ``run`` does.

    Raises:
        PyrunError: nothing of the container is left then.
    """
    from pyrun.container import restore as restoring

    bundle = load.read_bundle(request.bundle, request.config_name)
    ours_fd = -1
    wants_terminal = bool((bundle.config.get("process") or {}).get("terminal"))
    if wants_terminal and not request.console_socket:
        ours_fd, request.console_fd = _console_pair({})
    hold_signals()
    return _follow(restoring.restore(request, images, bundle), request, ours_fd, keep=False)


def _follow(
    entry: Entry, request: Request, console_fd: int, *, keep: bool
) -> tuple[int, list[str]]:
    """Wait for a container that runs, and delete it."""
    entry.unlock()  # state, kill and exec must work meanwhile
    status = _pass_through(entry.state["pid"], console_fd, request.console_fd)
    if keep:
        return status, []
    found = _again(entry, request)
    return status, lifecycle.delete(found, force=True) if found else []


def execute(request: join.Request, entry: Entry) -> int:
    """Run a process in the container and wait for it; returns its exit status.

    Raises:
        PyrunError: it could not be started.
    """
    from pyrun.container import join

    ours_fd = -1
    if request.process.get("terminal") and not request.console_socket:
        ours_fd, request.console_fd = _console_pair(request.process)
    hold_signals()
    return _pass_through(join.execute(request, entry), ours_fd, request.console_fd)


def _console_pair(settings: JsonObject) -> tuple[int, int]:
    """Two ends of a socket: ours gets the terminal that the container process sends.

    It has the size of the caller's terminal from the beginning.
    """
    if posix.isatty(0):
        columns, lines = posix.get_terminal_size(0)
        settings["consoleSize"] = {"height": lines, "width": columns}
    return syscalls.socketpair(syscalls.SOCK_STREAM)


def _pass_through(pid: int, console_fd: int, their_fd: int) -> int:
    if console_fd < 0:
        return wait(pid)
    from pyrun.container import terminal
    from pyrun.linux import console

    posix.close(their_fd)
    master_fd = console.receive(console_fd)
    posix.close(console_fd)
    try:
        return terminal.relay(pid, master_fd)
    finally:
        posix.close(master_fd)


def forwarded() -> set[int]:
    """The signals that are the container's business."""
    return set(range(1, _signal.NSIG)) - _OWN - {32, 33}  # those two are glibc's own


def hold_signals() -> None:
    """Keep signals until they can be forwarded: the container may answer before we wait for it."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, forwarded() | {_signal.SIGCHLD})


def wait(pid: int) -> int:
    """Wait for a child and forward every signal to it; 128 and the signal's number if killed.

    The signals are held already.
    """
    signals = forwarded() | {_signal.SIGCHLD}
    while True:
        ended, word = posix.waitpid(-1, posix.WNOHANG)
        if ended == pid:
            return status_of(word)
        if ended:  # an orphan
            continue
        number = _signal.sigwait(signals)
        if number != _signal.SIGCHLD:
            send(pid, number)


def reap_orphans(pid: int) -> None:
    """Wait for every child that has ended but ``pid``, whose end is for somebody else."""
    flags = posix.WEXITED | posix.WNOHANG | posix.WNOWAIT
    try:
        while (found := posix.waitid(posix.P_ALL, 0, flags)) and found.si_pid != pid:
            posix.waitpid(found.si_pid, 0)
    except ChildProcessError:
        return


def send(pid: int, number: int) -> None:
    """Forward a signal to a child that may have ended."""
    try:
        posix.kill(pid, number)
    except ProcessLookupError:
        return


def status_of(word: int) -> int:
    """The exit status as a shell shows it."""
    code = posix.waitstatus_to_exitcode(word)
    return code if code >= 0 else 128 - code


def detach(request: Request) -> None:
    """Create and start a container, and leave it running.

    Raises:
        PyrunError: nothing of the container is left then.
    """
    entry = creation.create(request)
    _start(entry, request)


def _start(entry: Entry, request: Request) -> None:
    """Start what was just created, or leave nothing of it."""
    try:
        lifecycle.start(entry)
    except BaseException:
        found = entry if entry.lock_fd >= 0 else _again(entry, request)  # hooks hold no lock
        if found:
            lifecycle.discard(found)
        raise


def _again(entry: Entry, request: Request) -> Entry | None:
    """The container, locked again; None if somebody has deleted it, or made another one since."""
    try:
        found = store.find(request.root, request.container_id, lock=True)
    except ContainerError:
        return None
    return found if found.state.get("created") == entry.state["created"] else None
