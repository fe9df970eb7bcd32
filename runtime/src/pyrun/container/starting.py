"""Lets init execute its program (runtime-spec runtime.md, "Start")."""

from __future__ import annotations

import posix

from pyrun.container import status, store
from pyrun.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry


def start(entry: Entry, warnings: list[str]) -> None:
    """Let init execute its program.

    The entry is locked; hooks that run afterwards hold no lock.

    Args:
        entry: of the container.
        warnings: takes what fails while a container is deleted of which a hook failed.

    Raises:
        HookError: a hook failed, and the container is deleted.
        ContainerError: the status does not allow it, or the program cannot be executed.
    """
    now = status.of(entry, held=True)
    if now != "created":
        raise ContainerError(f"start container {entry.id}: status is {now}, must be created")
    if not entry.state.get("program", True):
        raise ContainerError(f"start container {entry.id}: config.json has no process")
    fifo = entry.file(store.FIFO)
    path_fd = posix.open(fifo, posix.O_PATH | posix.O_CLOEXEC)
    # From here on the status is running, even if we are killed: a second start cannot be right.
    posix.unlink(fifo)
    killed = f"start container {entry.id}: it was killed before its program began"
    try:
        pid_fd = posix.pidfd_open(entry.state["pid"])
    except ProcessLookupError:
        raise ContainerError(killed) from None
    fifo_fd = posix.open(
        f"/proc/self/fd/{path_fd}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC
    )
    posix.close(path_fd)
    said = _read_verdict(fifo_fd, pid_fd)
    posix.close(fifo_fd)
    posix.close(pid_fd)
    if said is None:
        raise ContainerError(killed)
    if said:
        from pyrun.container import channel
        from pyrun.particular_errors import HookError
        from pyrun.spec import jsontext

        error = channel.revive(jsontext.loads(said.decode()))
        if isinstance(error, HookError):
            _end_lifecycle(entry, warnings)
        raise error
    poststart = entry.state["hooks"]["poststart"]
    if poststart:
        from pyrun.container import hooks

        entry.unlock()
        try:
            hooks.run("poststart", poststart, status.state_of(entry, "running"))
        except ContainerError:
            _end_lifecycle(entry, warnings)
            raise


def _end_lifecycle(entry: Entry, warnings: list[str]) -> None:
    """Steps 12 and 13, which follow on a hook that failed (runtime.md, "Lifecycle")."""
    from pyrun.container import directories, lifecycle

    found = directories.again(entry)
    if found:
        warnings += lifecycle.delete(found, force=True)


def _read_verdict(fifo_fd: int, pid_fd: int) -> bytes | None:
    """What init says went wrong; nothing when the program was executed.

    The descriptor that init writes to is close-on-exec: its end is the news of success. None when
    init ended without opening it: a fifo tells of an end only after there was a writer.
    """
    import select  # while init executes

    poll = select.poll()
    poll.register(fifo_fd, select.POLLIN)
    poll.register(pid_fd, select.POLLIN)
    said = b""
    while True:
        events = dict(poll.poll())
        if fifo_fd not in events:
            return None
        chunk = posix.read(fifo_fd, 65536)
        said += chunk
        if not chunk:
            return said
