"""A path inside the container's root as a file descriptor, so that no link leads outside of it."""

from __future__ import annotations

import _stat
import errno
import posix

from pyrun import syscalls

_MAX_LINKS = 40
_AGAIN = 128  # openat2 gives EAGAIN when a rename races with a ".."


def proc_path(fd: int) -> str:
    """A name for what ``fd`` is open on, for calls that take no descriptor."""
    return f"/proc/self/fd/{fd}"


def open_inside(root_fd: int, path: str, flags: int = posix.O_PATH, mode: int = 0) -> int:
    """Open ``path`` as a process whose root is ``root_fd`` would, but through no magic link.

    Args:
        root_fd: the container's root directory.
        path: absolute in the container.
        flags: of open(2); close-on-exec is added.
        mode: for O_CREAT.

    Raises:
        OSError: as of openat2(2).
    """
    relative = path.strip("/") or "."
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    for _ in range(_AGAIN):
        try:
            return syscalls.openat2(root_fd, relative, flags, mode, resolve)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                continue
            # before Linux 5.6, or a seccomp filter around us that does not know the call
            if error.errno in (errno.ENOSYS, errno.EPERM) and not _has_openat2():
                return _walk(root_fd, relative, flags, mode)
            raise
    raise OSError(errno.EAGAIN, posix.strerror(errno.EAGAIN), path)


def _has_openat2() -> bool:
    try:
        posix.close(syscalls.openat2(-100, "/", posix.O_PATH, 0, 0))
    except OSError:
        return False
    return True


def _walk(root_fd: int, relative: str, flags: int, mode: int) -> int:
    """What openat2 does, one component at a time; ``..`` goes back to a descriptor held open."""
    parents = [posix.dup(root_fd)]
    todo = relative.split("/")[::-1]
    links = 0
    try:
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(parents) > 1:
                    posix.close(parents.pop())
                continue
            here = parents[-1]
            try:
                found_fd = posix.open(
                    name, posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=here
                )
            except FileNotFoundError:
                if todo or not flags & posix.O_CREAT:
                    raise
                return posix.open(
                    name, flags | posix.O_NOFOLLOW | posix.O_CLOEXEC, mode, dir_fd=here
                )
            parents.append(found_fd)
            is_link = _stat.S_ISLNK(posix.fstat(found_fd).st_mode)
            if not is_link or (flags & posix.O_NOFOLLOW and not todo):
                continue
            links += 1
            if links > _MAX_LINKS or _is_magic(found_fd, name):
                raise OSError(errno.ELOOP, posix.strerror(errno.ELOOP), relative)
            target = posix.readlink(name, dir_fd=here)
            posix.close(parents.pop())
            if target.startswith("/"):
                while len(parents) > 1:
                    posix.close(parents.pop())
            todo += target.split("/")[::-1]
        if flags & posix.O_PATH:
            return posix.dup(parents[-1])
        return posix.open(proc_path(parents[-1]), flags & ~posix.O_NOFOLLOW | posix.O_CLOEXEC)
    finally:
        for fd in parents:
            posix.close(fd)


def _is_magic(link_fd: int, name: str) -> bool:
    """Whether a link of procfs leads where its text does not say."""
    if syscalls.fstatfs_type(link_fd) != syscalls.PROC_SUPER_MAGIC:
        return False
    return name not in ("self", "thread-self", "mounts", "net")


def make_inside(
    root_fd: int, path: str, *, directory: bool, mode: int = 0o755, links: int = 0
) -> int:
    """Like ``open_inside`` with O_PATH, making what is missing of ``path``.

    Args:
        root_fd: the container's root directory.
        path: absolute in the container.
        directory: makes a directory at its end; otherwise an empty file.
        mode: of what is made; directories on the way get 0755.
        links: how many dangling ones were followed so far.

    Raises:
        OSError: as of openat2(2) and mkdir(2).
    """
    here, missing = path, []
    while True:
        try:
            fd = open_inside(root_fd, here)
            break
        except FileNotFoundError:
            if not here.strip("/") or links > _MAX_LINKS:
                raise
        here, _, name = here.rstrip("/").rpartition("/")
        missing.append(name)
    while missing:
        name = missing.pop()
        end = not missing
        own_mode = mode if end else 0o755
        try:
            link = _make(fd, name, own_mode, directory=directory or not end)
        finally:
            posix.close(fd)
        if link:
            target = link if link.startswith("/") else f"{here}/{link}"
            fd = make_inside(
                root_fd, target, directory=directory or not end, mode=own_mode, links=links + 1
            )
            here = f"{here}/{name}"
            continue
        here = f"{here}/{name}"
        fd = open_inside(root_fd, here)
    return fd


def _make(parent_fd: int, name: str, mode: int, *, directory: bool) -> str:
    """Make one name; returns what it says if it is a link to what does not exist yet."""
    try:
        if directory:
            posix.mkdir(name, mode, dir_fd=parent_fd)
        else:
            flags = (
                posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_WRONLY
            )
            posix.close(posix.open(name, flags, mode, dir_fd=parent_fd))
    except FileExistsError:
        try:
            return posix.readlink(name, dir_fd=parent_fd)
        except OSError:  # somebody else made it meanwhile
            return ""
    return ""
