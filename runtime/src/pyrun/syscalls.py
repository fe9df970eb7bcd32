"""Thin system calls under their man-page names; errno becomes ``OSError``, nothing is retried."""

from __future__ import annotations

import _ctypes
import os
import sys


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # private, not generic at run time
    _type_ = "l"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


_libc = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # None is the process
_syscall = _Function(_ctypes.dlsym(_libc, "syscall"))
_syscall.argtypes = [_Long] * 7


def _call(number: int, *arguments: int) -> int:
    padded = arguments + (0,) * (6 - len(arguments))
    result: int = _syscall(number, *padded)
    if result == -1:
        error: int = _ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def address_of(buffer: bytearray) -> int:
    """Where the bytes are; keep ``buffer`` alive and unchanged in size meanwhile."""
    view = (_Byte * len(buffer)).from_buffer(buffer)
    return _ctypes.addressof(view)


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]  # private, not generic at run time
    _type_ = "B"


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
SECCOMP_GET_NOTIF_SIZES = 3
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_LOG = 2
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 16
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32


def bpf(command: int, attributes: bytearray) -> int:
    """``attributes`` is a packed ``union bpf_attr``; returns a descriptor where one is made."""
    number = _NUMBERS.get(os.uname().machine, _GENERIC)[0]
    return _call(number, command, address_of(attributes), len(attributes))


def seccomp(operation: int, flags: int, program: bytearray) -> int:
    """Load a classic BPF program as a filter; a listener's descriptor with NEW_LISTENER."""
    number = _NUMBERS.get(os.uname().machine, _GENERIC)[1]
    count, rest = divmod(len(program), 8)
    if rest:
        raise OSError(22, os.strerror(22), "seccomp program")
    header = bytearray(count.to_bytes(2, sys.byteorder) + b"\0" * 14)
    header[8:16] = address_of(program).to_bytes(8, sys.byteorder)
    return _call(number, operation, flags, address_of(header))
