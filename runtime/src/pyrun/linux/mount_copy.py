"""Copies a directory into the tmpfs that was mounted over it (the option ``tmpcopyup``)."""

from __future__ import annotations

import errno
import os
import stat

_CHUNK_BYTES = 1 << 20


def copy_tree(source_fd: int, target_fd: int) -> None:
    """Copy what ``source_fd`` holds, with owners, modes, times and attributes; follow no link.

    Raises:
        OSError: reading or writing failed, a full tmpfs among the reasons.
    """
    with os.scandir(source_fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        _copy(name, source_fd, target_fd)
    _take_over(os.fstat(source_fd), source_fd, target_fd)


def _copy(name: str, source_fd: int, target_fd: int) -> None:
    info = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target_fd, follow_symlinks=False)
        return
    if kind not in (stat.S_IFDIR, stat.S_IFREG):
        os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target_fd)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target_fd, follow_symlinks=False)
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    from_fd = os.open(name, flags, dir_fd=source_fd)
    try:
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target_fd)
            to_fd = os.open(name, flags | os.O_DIRECTORY, dir_fd=target_fd)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            to_fd = os.open(name, flags, 0o600, dir_fd=target_fd)
        try:
            if kind == stat.S_IFDIR:
                copy_tree(from_fd, to_fd)
            else:
                while os.sendfile(to_fd, from_fd, None, _CHUNK_BYTES):
                    continue
                _take_over(info, from_fd, to_fd)
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)


def _take_over(info: os.stat_result, source_fd: int, target_fd: int) -> None:
    os.fchown(target_fd, info.st_uid, info.st_gid)
    os.fchmod(target_fd, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(source_fd):
        try:
            os.setxattr(target_fd, name, os.getxattr(source_fd, name))
        except OSError as error:  # tmpfs has no user attributes before Linux 6.6
            if error.errno != errno.EOPNOTSUPP:
                raise
    os.utime(target_fd, ns=(info.st_atime_ns, info.st_mtime_ns))
