"""System calls that os lacks, one function each under its man-page name; errno becomes OSError.

Through ``_ctypes``, because importing ``ctypes`` takes 2 to 6 ms of every command (docs/adr/0008).
"""

from __future__ import annotations

import _ctypes
import _struct
import os

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 0x4
IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CONFINED = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
RESOLVE_STRICTLY_BELOW = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_SYMLINKS = 0x10
AT_EMPTY_PATH = 0x1000
AT_FDCWD = -100
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_MOUNT_SETATTR = 442
MOUNT_ATTR_IDMAP = 0x00100000
SYS_OPENAT2 = 437  # the same number on every architecture

_CDECL = 0x1
_USE_ERRNO = 0x8


class _Text(_ctypes._SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    _type_ = "z"


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    _type_ = "i"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    _type_ = "l"


class _UnsignedLong(_ctypes._SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    _type_ = "L"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _CDECL | _USE_ERRNO
    _restype_ = _Int  # enough for the descriptor that syscall(2) answers, too


# None is the program itself, which has the C library loaded.
_program = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # typeshed wants a path


def _function(name: str, *argtypes: object) -> _Function:
    function = _Function(_ctypes.dlsym(_program, name))
    function.argtypes = argtypes  # type: ignore[assignment]  # a sequence of C types
    return function


_mount = _function("mount", _Text, _Text, _Text, _UnsignedLong, _Text)
_umount2 = _function("umount2", _Text, _Int)
_syncfs = _function("syncfs", _Int)
_unshare = _function("unshare", _Int)
_mount_setattr = _function("syscall", _Long, _Long, _Text, _UnsignedLong, _Text, _UnsignedLong)
_setfsuid = _function("setfsuid", _Int)
_setfsgid = _function("setfsgid", _Int)
_setns = _function("setns", _Int, _Int)
_open_tree = _function("syscall", _Long, _Long, _Text, _UnsignedLong)
_move_mount = _function("syscall", _Long, _Long, _Text, _Long, _Text, _UnsignedLong)
_prctl = _function("prctl", _Int, *(_UnsignedLong,) * 4)
_inotify_init1 = _function("inotify_init1", _Int)
_inotify_add_watch = _function("inotify_add_watch", _Int, _Text, _UnsignedLong)
_openat2 = _function("syscall", _Long, _Long, _Text, _Text, _UnsignedLong)


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None) -> None:
    """Attach a file system; ``flags`` is an OR of ``MS_*`` (mount(2))."""
    kind = os.fsencode(fstype) if fstype is not None else None
    options = os.fsencode(data) if data is not None else None
    _check(_mount(os.fsencode(source), os.fsencode(target), kind, flags, options), target)


def umount2(target: str, flags: int) -> None:
    """Detach a file system; ``flags`` is an OR of ``MNT_*`` and ``UMOUNT_*`` (umount2(2))."""
    _check(_umount2(os.fsencode(target), flags), target)


def syncfs(fd: int) -> None:
    """Write everything of the file system that ``fd`` is on to its disk (syncfs(2))."""
    _check(_syncfs(fd), None)


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` (``CLONE_NEW*``) names (unshare(2))."""
    _check(_unshare(flags), None)


def setfsuid(uid: int) -> None:
    """Whose files those are that this process makes (setfsuid(2), which tells no error)."""
    _setfsuid(uid)


def setfsgid(gid: int) -> None:
    """The group of the files that this process makes (setfsgid(2))."""
    _setfsgid(gid)


def setns(fd: int, kind: int) -> None:
    """Enter a namespace of a ``kind`` (``CLONE_NEW*``) (setns(2))."""
    _check(_setns(fd, kind), None)


def open_tree(fd: int) -> int:
    """A detached copy of the mount that ``fd`` is the root of (open_tree(2), Linux 5.2)."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
    tree_fd: int = _open_tree(SYS_OPEN_TREE, fd, b"", flags)
    _check(tree_fd, None)
    return tree_fd


def mount_setattr_idmap(tree_fd: int, namespace_fd: int) -> None:
    """Map owners of a detached mount as a user namespace does (mount_setattr(2), Linux 5.12)."""
    attributes = _struct.pack("QQQQ", MOUNT_ATTR_IDMAP, 0, 0, namespace_fd)
    result = _mount_setattr(
        SYS_MOUNT_SETATTR, tree_fd, b"", AT_EMPTY_PATH, attributes, len(attributes)
    )
    _check(result, None)


def move_mount(tree_fd: int, target: str) -> None:
    """Attach a detached mount; follows links as mount(2) does (move_mount(2), Linux 5.2)."""
    path = os.fsencode(target)
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS
    _check(_move_mount(SYS_MOVE_MOUNT, tree_fd, b"", AT_FDCWD, path, flags), target)


def prctl(option: int, argument: int) -> None:
    """Change an attribute of this process; ``option`` is a ``PR_*`` (prctl(2))."""
    _check(_prctl(option, argument, 0, 0, 0), None)


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` below ``dir_fd`` as ``resolve`` allows (openat2(2), Linux 5.6)."""
    how = _struct.pack("QQQ", flags, mode, resolve)
    fd: int = _openat2(SYS_OPENAT2, dir_fd, os.fsencode(path), how, len(how))
    _check(fd, path)
    return fd


def inotify_init1(flags: int) -> int:
    """A descriptor for watches (inotify(7))."""
    fd: int = _inotify_init1(flags)
    _check(fd, None)
    return fd


def inotify_add_watch(inotify_fd: int, path: str, mask: int) -> None:
    """Report what happens to ``path``; ``mask`` is an OR of the ``IN_`` flags above."""
    _check(_inotify_add_watch(inotify_fd, os.fsencode(path), mask), path)


def _check(result: int, path: str | None) -> None:
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
