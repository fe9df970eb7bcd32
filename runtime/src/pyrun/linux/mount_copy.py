"""Copies a directory into the tmpfs that was mounted over it (the option ``tmpcopyup``)."""

from __future__ import annotations

import _stat
import errno
import posix

_CHUNK_BYTES = 1 << 20


def copy_tree(source_fd: int, target_fd: int) -> None:
    """Copy what ``source_fd`` holds, with owners, modes, times and attributes; follow no link.

    Raises:
        OSError: reading or writing failed, a full tmpfs among the reasons.
    """
    with posix.scandir(source_fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        _copy(name, source_fd, target_fd)
    _take_over(posix.fstat(source_fd), source_fd, target_fd)


def _copy(name: str, source_fd: int, target_fd: int) -> None:
    info = posix.stat(name, dir_fd=source_fd, follow_symlinks=False)
    kind = _stat.S_IFMT(info.st_mode)
    if kind == _stat.S_IFLNK:
        posix.symlink(posix.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
        posix.chown(name, info.st_uid, info.st_gid, dir_fd=target_fd, follow_symlinks=False)
        return
    if kind not in (_stat.S_IFDIR, _stat.S_IFREG):
        posix.mknod(name, info.st_mode, info.st_rdev, dir_fd=target_fd)
        posix.chown(name, info.st_uid, info.st_gid, dir_fd=target_fd, follow_symlinks=False)
        return
    # a fifo that takes its place must not keep us
    flags = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOFOLLOW | posix.O_CLOEXEC
    from_fd = posix.open(name, flags, dir_fd=source_fd)
    try:
        if kind == _stat.S_IFDIR:
            posix.mkdir(name, 0o700, dir_fd=target_fd)
            to_fd = posix.open(name, flags | posix.O_DIRECTORY, dir_fd=target_fd)
        else:
            flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
            to_fd = posix.open(name, flags, 0o600, dir_fd=target_fd)
        try:
            if kind == _stat.S_IFDIR:
                copy_tree(from_fd, to_fd)
            else:
                while posix.sendfile(to_fd, from_fd, None, _CHUNK_BYTES):
                    continue
                _take_over(info, from_fd, to_fd)
        finally:
            posix.close(to_fd)
    finally:
        posix.close(from_fd)


def _take_over(info: posix.stat_result, source_fd: int, target_fd: int) -> None:
    posix.fchown(target_fd, info.st_uid, info.st_gid)
    posix.fchmod(target_fd, _stat.S_IMODE(info.st_mode))
    for name in posix.listxattr(source_fd):
        try:
            posix.setxattr(target_fd, name, posix.getxattr(source_fd, name))
        except OSError as error:  # tmpfs has no user attributes before Linux 6.6
            if error.errno != errno.EOPNOTSUPP:
                raise
    posix.utime(target_fd, ns=(info.st_atime_ns, info.st_mtime_ns))
