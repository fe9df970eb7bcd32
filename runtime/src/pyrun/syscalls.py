"""System calls that ``os`` lacks: one function each, errno as ``OSError``, no policy.

``_ctypes`` is what ``ctypes`` is made of; importing it alone saves 1.6 ms (docs/adr/0002).
"""

from __future__ import annotations

import posix
import sys
from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_USE_ERRNO,
    CFuncPtr,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)

from pyrun import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    Word = _SimpleCData[int]
else:
    Word = _SimpleCData

CLONE_FILES = 0x400
CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_I_VERSION = 0x800000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000
# The words of mount(8) and of linux.rootfsPropagation.
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = 0x80000
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

RESOLVE_NO_MAGICLINKS = 0x2
RESOLVE_NO_SYMLINKS = 0x4
RESOLVE_BENEATH = 0x8
RESOLVE_IN_ROOT = 0x10

CLOSE_RANGE_CLOEXEC = 0x4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_SETPERM = 5
KEYCTL_DESCRIBE = 6

PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC = 0x62656572

IOPRIO_WHO_PROCESS = 1

# of _socket, which takes 0.4 ms to import (docs/adr/0012)
AF_UNIX = 1
AF_INET = 2
SOCK_STREAM = 1
SOCK_DGRAM = 2
SOCK_SEQPACKET = 5
SOCK_CLOEXEC = 0o2000000

_LINUX_CAPABILITY_VERSION_3 = 0x20080522

_BYTE_ORDER = sys.byteorder
_LONG_SIZE = 8 if sys.maxsize > 2**32 else 4

# Calls without a wrapper in libc; those from 424 on have one number on every architecture.
_MACHINE = posix.uname().machine
_OLD = {
    "x86_64": (250, 314, 251, 302), "i686": (288, 351, 289, 340),
    "armv7l": (311, 380, 314, 369), "ppc64le": (271, 355, 273, 325),
    "s390x": (280, 345, 282, 334),
}  # fmt: skip
_KEYCTL, _SCHED_SETATTR, _IOPRIO_SET, _PRLIMIT64 = _OLD.get(
    _MACHINE, (219, 274, 30, 261)
)  # asm-generic: aarch64, riscv64
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_CLONE3 = 435
_CLOSE_RANGE = 436
_OPENAT2 = 437
_MOUNT_SETATTR = 442


class _Int(Word):
    _type_ = "i"


class _Long(Word):
    _type_ = "l"


class _Argument(Word):
    """A machine word: an integer, or the address of a bytes object."""

    _type_ = "P"


class _Byte(Word):
    _type_ = "B"


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Int
    _argtypes_ = (_Argument,) * 5


class _Syscall(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Long
    _argtypes_ = (_Argument,) * 7


_LIBC = dlopen(None, posix.RTLD_NOW)  # type: ignore[arg-type]  # None is the process itself
_mount = _Function(dlsym(_LIBC, "mount"))
_umount2 = _Function(dlsym(_LIBC, "umount2"))
_pivot_root = _Function(dlsym(_LIBC, "pivot_root"))
_unshare = _Function(dlsym(_LIBC, "unshare"))
_setns = _Function(dlsym(_LIBC, "setns"))
_prctl = _Function(dlsym(_LIBC, "prctl"))
_capset = _Function(dlsym(_LIBC, "capset"))
_sethostname = _Function(dlsym(_LIBC, "sethostname"))
_setdomainname = _Function(dlsym(_LIBC, "setdomainname"))
_personality = _Function(dlsym(_LIBC, "personality"))
_fstatfs = _Function(dlsym(_LIBC, "fstatfs"))
_socket = _Function(dlsym(_LIBC, "socket"))
_socketpair = _Function(dlsym(_LIBC, "socketpair"))
_syscall = _Syscall(dlsym(_LIBC, "syscall"))


def _failure(path: str | None = None) -> OSError:
    number = get_errno()
    return OSError(number, posix.strerror(number), path)


def address_of(buffer: bytearray) -> int:
    """Where the bytes are; keep ``buffer`` alive and unchanged in size meanwhile."""
    return addressof((_Byte * len(buffer)).from_buffer(buffer))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else names.encode(text)


def _call(number: int, *arguments: int | bytes, path: str | None = None) -> int:
    """A call without a wrapper in libc."""
    result = int(_syscall(number, *arguments, *(0,) * (6 - len(arguments))))
    if result < 0:
        raise _failure(path)
    return result


def mount(
    source: str | None, target: str, fstype: str | None, flags: int, data: str | None
) -> None:
    """Mount, remount, bind or change propagation; ``flags`` is an OR of MS_ (mount(2))."""
    if _mount(_bytes(source), _bytes(target), _bytes(fstype), flags, _bytes(data)) < 0:
        raise _failure(target)


def umount2(target: str, flags: int) -> None:
    """Detach a file system; ``flags`` is an OR of MNT_ (umount2(2))."""
    if _umount2(_bytes(target), flags, 0, 0, 0) < 0:
        raise _failure(target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of this mount namespace (pivot_root(2))."""
    if _pivot_root(_bytes(new_root), _bytes(put_old), 0, 0, 0) < 0:
        raise _failure(new_root)


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; ``flags`` is an OR of CLONE_NEW (unshare(2))."""
    if _unshare(flags, 0, 0, 0, 0) < 0:
        raise _failure()


def clone_into_cgroup(cgroup_fd: int) -> int:
    """Fork a child into the cgroup2 directory ``cgroup_fd``; 0 in the child (clone3(2)).

    libc knows nothing of it, nor does Python: only for a process of one thread, and a child that
    ends in execve(2) or _exit(2).
    """
    return _clone3(CLONE_INTO_CGROUP, cgroup_fd)


def clone_sharing_files() -> int:
    """Fork a child that has the same descriptors, not copies (clone3(2)); else as above."""
    return _clone3(CLONE_FILES)


def _clone3(flags: int, cgroup_fd: int = 0) -> int:
    # flags, pidfd, child_tid, parent_tid, exit_signal, stack, its size, tls, set_tid, its size,
    # cgroup
    words = (flags, 0, 0, 0, 17, 0, 0, 0, 0, 0, cgroup_fd)  # 17 is SIGCHLD
    arguments = b"".join(word.to_bytes(8, _BYTE_ORDER) for word in words)
    return _call(_CLONE3, arguments, len(arguments))


def setns(fd: int, flags: int) -> None:
    """Enter the namespace of ``fd``, or those of a pidfd named by ``flags`` (setns(2))."""
    if _setns(fd, flags, 0, 0, 0) < 0:
        raise _failure()


def prctl(option: int, value: int = 0, more: int = 0) -> None:
    """Change an attribute of this process; ``option`` is a PR_ (prctl(2))."""
    if _prctl(option, value, more, 0, 0) < 0:
        raise _failure()


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the thread's capabilities, one bit each (capset(2))."""
    header = b"".join(word.to_bytes(4, _BYTE_ORDER) for word in (_LINUX_CAPABILITY_VERSION_3, 0))
    sets = (effective, permitted, inheritable)
    halves = [*(word & 0xFFFFFFFF for word in sets), *(word >> 32 for word in sets)]
    data = b"".join(half.to_bytes(4, _BYTE_ORDER) for half in halves)
    if _capset(header, data, 0, 0, 0) < 0:
        raise _failure()


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace (sethostname(2))."""
    word = names.encode(name)
    if _sethostname(word, len(word), 0, 0, 0) < 0:
        raise _failure()


def setdomainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace (setdomainname(2))."""
    word = names.encode(name)
    if _setdomainname(word, len(word), 0, 0, 0) < 0:
        raise _failure()


def socket(family: int, kind: int) -> int:
    """A socket's descriptor; ``kind`` is a SOCK_, close-on-exec (socket(2))."""
    fd = int(_socket(family, kind | SOCK_CLOEXEC, 0, 0, 0))
    if fd < 0:
        raise _failure()
    return fd


def socketpair(kind: int) -> tuple[int, int]:
    """Two connected AF_UNIX sockets; ``kind`` is a SOCK_, close-on-exec (socketpair(2))."""
    pair = bytearray(8)
    if _socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, address_of(pair), 0) < 0:
        raise _failure()
    return int.from_bytes(pair[:4], _BYTE_ORDER), int.from_bytes(pair[4:], _BYTE_ORDER)


def prlimit(pid: int, number: int, soft: int, hard: int) -> None:
    """Set a resource limit of a process, 0 is this one; limits are 64-bit words (prlimit(2))."""
    _call(_PRLIMIT64, pid, number, soft.to_bytes(8, _BYTE_ORDER) + hard.to_bytes(8, _BYTE_ORDER))


def getrlimit(pid: int, number: int) -> tuple[int, int]:
    """The soft and the hard limit of a process (prlimit(2))."""
    pair = bytearray(16)
    _call(_PRLIMIT64, pid, number, 0, address_of(pair))
    return int.from_bytes(pair[:8], _BYTE_ORDER), int.from_bytes(pair[8:], _BYTE_ORDER)


def personality(persona: int) -> None:
    """Set the execution domain (personality(2))."""
    if _personality(persona, 0, 0, 0, 0) < 0:
        raise _failure()


def fstatfs_type(fd: int) -> int:
    """The magic number of the file system that ``fd`` is on (fstatfs(2))."""
    buffer = bytearray(256)  # struct statfs is 120 bytes at most
    if _fstatfs(fd, address_of(buffer), 0, 0, 0) < 0:
        raise _failure()
    return int.from_bytes(buffer[:_LONG_SIZE], _BYTE_ORDER)


def openat2(directory_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """Open a path with rules for its resolution, close-on-exec (openat2(2))."""
    words = (flags | posix.O_CLOEXEC, mode, resolve)
    how = b"".join(word.to_bytes(8, _BYTE_ORDER) for word in words)
    return _call(_OPENAT2, directory_fd, names.encode(path), how, len(how), path=path)


def open_tree(directory_fd: int, path: str, flags: int) -> int:
    """Open a mount, or a detached copy with OPEN_TREE_CLONE, close-on-exec (open_tree(2))."""
    word = flags | OPEN_TREE_CLOEXEC
    return _call(_OPEN_TREE, directory_fd, names.encode(path), word, path=path)


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the mount ``from_fd`` on what ``to_fd`` is open on (move_mount(2))."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _call(_MOVE_MOUNT, from_fd, b"", to_fd, b"", flags)


def fsopen(fstype: str) -> int:
    """Begin a new mount of a file system, close-on-exec (fsopen(2))."""
    return _call(_FSOPEN, names.encode(fstype), 1)  # FSOPEN_CLOEXEC


def fsconfig_create(fs_fd: int, source: str) -> None:
    """Make the file system that ``fsopen`` began, of this source (fsconfig(2))."""
    _call(_FSCONFIG, fs_fd, 1, b"source", names.encode(source))  # FSCONFIG_SET_STRING
    _call(_FSCONFIG, fs_fd, 6)  # FSCONFIG_CMD_CREATE


def fsmount(fs_fd: int) -> int:
    """A detached mount of it, close-on-exec (fsmount(2))."""
    return _call(_FSMOUNT, fs_fd, 1)  # FSMOUNT_CLOEXEC


def mount_setattr(
    fd: int, flags: int, attr_set: int, attr_clear: int, propagation: int = 0, userns_fd: int = 0
) -> None:
    """Change a mount, or the whole tree with AT_RECURSIVE (mount_setattr(2))."""
    words = (attr_set, attr_clear, propagation, userns_fd)
    attr = b"".join(word.to_bytes(8, _BYTE_ORDER) for word in words)
    _call(_MOUNT_SETATTR, fd, b"", flags | AT_EMPTY_PATH, attr, len(attr))


def close_range(first: int, last: int, flags: int) -> None:
    """Close descriptors, or mark them close-on-exec (close_range(2))."""
    _call(_CLOSE_RANGE, first, last, flags)


def keyctl(operation: int, first: int | str, second: int = 0, third: int = 0) -> int:
    """Operate on the kernel's keyrings; ``operation`` is a KEYCTL_ (keyctl(2))."""
    word = names.encode(first) if isinstance(first, str) else first
    return _call(_KEYCTL, operation, word, second, third)


def ioprio_set(which: int, who: int, priority: int) -> None:
    """Set the I/O scheduling class and priority (ioprio_set(2))."""
    _call(_IOPRIO_SET, which, who, priority)


def set_mempolicy(mode: int, nodes: int) -> None:
    """Set the NUMA memory policy; ``nodes`` has one bit for each (set_mempolicy(2))."""
    count = nodes.bit_length()
    words = [nodes >> shift & (1 << 64) - 1 for shift in range(0, max(count, 1), 64)]
    mask = b"".join(word.to_bytes(8, _BYTE_ORDER) for word in words)
    numbers = {"x86_64": 238, "i686": 276, "armv7l": 321, "ppc64le": 261, "s390x": 270}
    _call(numbers.get(_MACHINE, 237), mode, mask, count + 1)  # it looks at one bit less than told


def sched_setattr(pid: int, attributes: bytes) -> None:
    """Set the scheduling policy from a ``struct sched_attr`` (sched_setattr(2))."""
    _call(_SCHED_SETATTR, pid, attributes, 0)


# --- bpf(2) and seccomp(2); their numbers on the architectures that Python runs on

_GENERIC = (280, 277)
_NUMBERS = {
    "x86_64": (321, 317),
    "i686": (357, 354),
    "armv7l": (386, 383),
    "ppc64le": (361, 358),
    "s390x": (351, 348),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
}

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_DETACH = 9
BPF_PROG_GET_FD_BY_ID = 13
BPF_PROG_QUERY = 16
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_LOG = 2
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 16
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32


def bpf(command: int, attributes: bytearray) -> int:
    """``attributes`` is a packed ``union bpf_attr``; returns a descriptor where one is made."""
    number = _NUMBERS.get(_MACHINE, _GENERIC)[0]
    return _call(number, command, address_of(attributes), len(attributes))


def seccomp(operation: int, flags: int, program: bytearray | None) -> int:
    """Load a classic BPF program as a filter; a listener's descriptor with NEW_LISTENER.

    Without a program it fails with EFAULT, or with EINVAL if the kernel does not know the flags.
    """
    number = _NUMBERS.get(_MACHINE, _GENERIC)[1]
    if program is None:
        return _call(number, operation, flags, 0)
    count, rest = divmod(len(program), 8)
    if rest:
        raise OSError(22, posix.strerror(22), "seccomp program")
    header = bytearray(count.to_bytes(2, sys.byteorder) + b"\0" * 14)
    header[8:16] = address_of(program).to_bytes(8, sys.byteorder)
    return _call(number, operation, flags, address_of(header))
