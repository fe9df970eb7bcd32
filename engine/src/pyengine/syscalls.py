"""System calls that os lacks, one function each under its man-page name; errno becomes OSError."""

from __future__ import annotations

import ctypes
import os

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
RESOLVE_CONFINED = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
SYS_OPENAT2 = 437  # the same number on every architecture

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p,
)  # fmt: skip
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.syncfs.argtypes = (ctypes.c_int,)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.syscall.restype = ctypes.c_long
_libc.inotify_init1.argtypes = (ctypes.c_int,)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None) -> None:
    """Attach a file system; ``flags`` is an OR of ``MS_*`` (mount(2))."""
    kind = os.fsencode(fstype) if fstype is not None else None
    options = os.fsencode(data) if data is not None else None
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), kind, flags, options), target)


def umount2(target: str, flags: int) -> None:
    """Detach a file system; ``flags`` is an OR of ``MNT_*`` and ``UMOUNT_*`` (umount2(2))."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def syncfs(fd: int) -> None:
    """Write everything of the file system that ``fd`` is on to its disk (syncfs(2))."""
    _check(_libc.syncfs(fd), None)


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` (``CLONE_NEW*``) names (unshare(2))."""
    _check(_libc.unshare(flags), None)


def prctl(option: int, argument: int) -> None:
    """Change an attribute of this process; ``option`` is a ``PR_*`` (prctl(2))."""
    _check(_libc.prctl(option, argument, 0, 0, 0), None)


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` below ``dir_fd`` as ``resolve`` allows (openat2(2), Linux 5.6)."""
    how = (ctypes.c_uint64 * 3)(flags, mode, resolve)
    fd: int = _libc.syscall(
        ctypes.c_long(SYS_OPENAT2),
        ctypes.c_int(dir_fd),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    _check(fd, path)
    return fd


def inotify_init1(flags: int) -> int:
    """A descriptor for watches (inotify(7))."""
    fd: int = _libc.inotify_init1(flags)
    _check(fd, None)
    return fd


def inotify_add_watch(inotify_fd: int, path: str, mask: int) -> None:
    """Report what happens to ``path``; ``mask`` is an OR of the ``IN_`` flags above."""
    _check(_libc.inotify_add_watch(inotify_fd, os.fsencode(path), mask), path)


def _check(result: int, path: str | None) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
