"""What there is below a container's cgroup; loaded when something may be.

A container that manages its own cgroup decides how many there are and how deep. So nothing here
recurses, holds a descriptor for each level or calls one by its whole path.
"""

from __future__ import annotations

import errno
import posix
import time

from pyrun import names
from pyrun.errors import KernelError
from pyrun.linux.cgroups.hierarchy import read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_GONE = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)
_FLAGS = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def walk(directory: str) -> Iterator[tuple[int, str]]:
    """Each cgroup below, the deepest first: a descriptor of the one above it, and its name.

    The descriptor is good until the next one is asked for.
    """
    fd = _open(directory)
    if fd < 0:
        return
    todo = [_names(fd)]  # of each level on the way to here
    try:
        while True:
            while todo[-1]:
                below_fd = _open(todo[-1][-1], fd)
                if below_fd < 0:
                    todo[-1].pop()
                    continue
                posix.close(fd)
                fd = below_fd
                todo.append(_names(fd))
            todo.pop()
            if not todo:
                return
            above_fd = posix.open("..", _FLAGS, dir_fd=fd)
            posix.close(fd)
            fd = above_fd
            yield fd, todo[-1].pop()
    finally:
        posix.close(fd)


def _open(name: str, directory_fd: int | None = None) -> int:
    """A cgroup's directory; -1 when it is gone."""
    try:
        return posix.open(name, _FLAGS, dir_fd=directory_fd)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return -1


def _names(fd: int) -> list[str]:
    try:
        with posix.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return []


def procs(directory: str) -> set[int]:
    """The processes of a cgroup and of those below it; empty when it is gone.

    Raises:
        KernelError: one of them cannot be read.
    """
    try:
        found = _procs(f"{directory}/cgroup.procs")
        for above_fd, name in walk(directory):
            found |= _procs(f"{name}/cgroup.procs", above_fd)
    except OSError as error:
        raise KernelError(f"read the processes of cgroup {directory}", error) from error
    return found


def _procs(path: str, directory_fd: int | None = None) -> set[int]:
    try:
        return {int(word) for word in read_file(path, directory_fd).split()}
    except OSError as error:
        # EOPNOTSUPP: a threaded cgroup lists them in its domain
        if error.errno in (*_GONE, errno.EOPNOTSUPP):
            return set()
        raise


def move_beside(directory: str, pid: int, beside: int) -> bool:
    """Move a process to the cgroup below ``directory`` that another one is in, if there is one.

    Raises:
        OSError: the kernel refused.
    """
    for above_fd, name in walk(directory):
        if beside in _procs(f"{name}/cgroup.procs", above_fd):
            write_file(f"{name}/cgroup.procs", str(pid), above_fd)
            return True
    return False


def thaw(directory: str) -> None:
    """Thaw the cgroups below one of the v1 freezer: a container may have frozen some by itself.

    Raises:
        OSError: the kernel refused.
    """
    for above_fd, name in walk(directory):
        try:
            write_file(f"{name}/freezer.state", "THAWED", above_fd)
        except OSError as error:
            if error.errno not in _GONE:
                raise


def remove(directory: str, deadline: float) -> None:
    """Remove a cgroup and those below it.

    A cgroup stays busy for a moment after its last process ended. cgroup2 tells by cgroup.events;
    v1 tells nobody, so there the next try follows after a growing pause.

    Args:
        directory: of the cgroup.
        deadline: by time.monotonic().

    Raises:
        KernelError: the kernel refused, or it was busy until the deadline.
    """
    pause_s = 0.001
    while True:
        try:
            posix.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno == errno.EROFS and not names.exists(directory):
                return  # nor could it be made
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise KernelError(f"remove cgroup {directory}", error) from error
        else:
            return
        removed = 0
        for above_fd, name in walk(directory):
            removed += _removed(above_fd, name)
        if not removed:
            _wait_until_empty(directory, pause_s)
            pause_s = min(pause_s * 2, 0.1)


def _removed(above_fd: int, name: str) -> bool:
    try:
        posix.rmdir(name, dir_fd=above_fd)
    except OSError:  # the one above is busy as long as this one
        return False
    return True


def _wait_until_empty(directory: str, pause_s: float) -> None:
    import select

    try:
        events_fd = posix.open(f"{directory}/cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # v1
        time.sleep(pause_s)
        return
    try:
        if b"populated 0" not in posix.read(events_fd, 4096):
            poll = select.poll()
            poll.register(events_fd, select.POLLPRI)
            poll.poll(1000)
        else:
            time.sleep(pause_s)  # a dying child cgroup
    finally:
        posix.close(events_fd)
