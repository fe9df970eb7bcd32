"""System calls that the standard library does not offer, through ``_ctypes`` (docs/adr/0007)."""

from __future__ import annotations

import _ctypes
import posix

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_CDECL = 0x1
_USE_ERRNO = 0x8


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    _type_ = "i"


class _UnsignedLong(_ctypes._SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    _type_ = "L"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _CDECL | _USE_ERRNO
    _restype_ = _Int


# None is the program itself, which has the C library loaded.
_program = _ctypes.dlopen(None, posix.RTLD_NOW)  # type: ignore[arg-type]  # typeshed wants a path
_prctl = _Function(_ctypes.dlsym(_program, "prctl"))
_prctl.argtypes = (_Int, _UnsignedLong, _UnsignedLong, _UnsignedLong, _UnsignedLong)


def prctl(operation: int, value: int) -> None:
    """Change an attribute of the calling process; ``operation`` is a PR constant (prctl(2))."""
    if _prctl(operation, value, 0, 0, 0) < 0:
        number = _ctypes.get_errno()
        raise OSError(number, posix.strerror(number))
