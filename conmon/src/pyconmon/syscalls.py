"""System calls that the standard library does not offer, through ``_ctypes`` (docs/adr/0007)."""

from __future__ import annotations

import _ctypes
import errno
import posix

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# None is the program itself, which has the C library loaded.
_program = _ctypes.dlopen(None, posix.RTLD_NOW)  # type: ignore[arg-type]  # typeshed wants a path
_prctl = _ctypes.dlsym(_program, "prctl")


def prctl(operation: int, value: int) -> None:
    """Change an attribute of the calling process; ``operation`` is a PR constant (prctl(2)).

    Raises:
        OSError: the kernel does not know the operation. Only EINVAL is possible for those above,
            so errno is not asked for: a function type that keeps it costs each monitor 24 KiB.
    """
    if _ctypes.call_function(_prctl, (operation, value, 0, 0, 0)) < 0:
        raise OSError(errno.EINVAL, posix.strerror(errno.EINVAL), f"prctl {operation}")
