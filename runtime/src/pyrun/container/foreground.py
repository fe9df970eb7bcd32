"""Waits for a container or an exec'd process: signals, terminal and exit status pass through."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyrun.container import attached, directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container import join, notify
    from pyrun.container.checkpoint import Images
    from pyrun.container.request import Request
    from pyrun.container.stage import Stage
    from pyrun.container.store import Entry


def run(begun: Stage, *, keep: bool) -> tuple[int, list[str]]:
    """Create, start, wait and delete; returns the exit status and warnings.

    Args:
        begun: what is asked for.
        keep: does not delete it.

    Raises:
        PyrunError: nothing of the container is left then.
    """
    from pyrun.container import create as creation

    request = begun.request
    entry = creation.create(begun)
    if not begun.starts:
        _start(entry, request)
    return _follow(entry, request, begun.console_fd, keep=keep)


def restore(request: Request, images: Images) -> tuple[int, list[str]]:
    """Restore a container from a checkpoint, wait and delete; as ``run`` does.

    Raises:
        PyrunError: nothing of the container is left then.
    """
    from pyrun.container import restore as restoring
    from pyrun.spec import load

    bundle = load.read_bundle(request.bundle, request.config_name)
    ours_fd = -1
    wants_terminal = bool((bundle.config.get("process") or {}).get("terminal"))
    if wants_terminal and not request.console_socket:
        ours_fd, request.console_fd = attached.console_pair({})
    attached.hold_signals()
    return _follow(restoring.restore(request, images, bundle), request, ours_fd, keep=False)


def _follow(
    entry: Entry, request: Request, console_fd: int, *, keep: bool
) -> tuple[int, list[str]]:
    """Wait for a container that runs, and delete it."""
    entry.unlock()  # state, kill and exec must work meanwhile
    from pyrun.container import lifecycle  # while the container runs

    if request.notify:
        request.notify.watch()
    pid = entry.state["pid"]
    status = _pass_through(pid, console_fd, request.console_fd, request.notify)
    if request.notify:
        request.notify.forward()  # of what came with the end
    if keep:
        return status, []
    found = directories.again(entry)
    return status, lifecycle.delete(found, force=True) if found else []


def execute(request: join.Request, entry: Entry) -> int:
    """Run a process in the container and wait for it; returns its exit status.

    Raises:
        PyrunError: it could not be started.
    """
    from pyrun.container import join

    ours_fd = -1
    if request.process.get("terminal") and not request.console_socket:
        ours_fd, request.console_fd = attached.console_pair(request.process)
    attached.hold_signals()
    return _pass_through(join.execute(request, entry), ours_fd, request.console_fd)


def _pass_through(
    pid: int, console_fd: int, their_fd: int, listener: notify.Listener | None = None
) -> int:
    if console_fd < 0:
        return wait(pid, listener)
    from pyrun.container import terminal
    from pyrun.linux import console

    posix.close(their_fd)
    master_fd = console.receive(console_fd)
    posix.close(console_fd)
    try:
        return terminal.relay(pid, master_fd, listener)
    finally:
        posix.close(master_fd)


def wait(pid: int, listener: notify.Listener | None = None) -> int:
    """Wait for a child and forward every signal to it; 128 and the signal's number if killed.

    The signals are held already; with a listener, SIGIO is its.
    """
    signals = attached.forwarded() | {_signal.SIGCHLD}
    while True:
        ended, word = posix.waitpid(-1, posix.WNOHANG)
        if ended == pid:
            return status_of(word)
        if ended:  # an orphan
            continue
        number = _signal.sigwait(signals)
        if listener and number == _signal.SIGIO:
            listener.forward()
        elif number != _signal.SIGCHLD:
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


def detach(begun: Stage) -> None:
    """Create and start a container, and leave it running.

    Raises:
        PyrunError: nothing of the container is left then.
    """
    from pyrun.container import create as creation

    entry = creation.create(begun)
    if not begun.starts:
        _start(entry, begun.request)
    if begun.request.notify:
        entry.unlock()
        begun.request.notify.wait(entry.state["pid"])


def _start(entry: Entry, request: Request) -> None:
    """Start what was just created, or leave nothing of it."""
    from pyrun.container import starting

    try:
        starting.start(entry, request.warnings)
    except BaseException:
        found = directories.again(entry)  # hooks hold no lock, and one that fails leaves nothing
        if found:
            from pyrun.container import lifecycle

            request.warnings += lifecycle.delete(found, force=True)
        raise
