"""The loopback interface of a new network namespace."""

from __future__ import annotations

import fcntl
import posix
import sys

from pyrun import syscalls
from pyrun.errors import KernelError

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ_BYTES = 40
_LOW_BYTE = 16 if sys.byteorder == "little" else 17  # of ifr_flags, a short after the name


def set_loopback_up() -> None:
    """Bring ``lo`` up, as runc and crun do (netdevice(7)).

    Raises:
        KernelError: the kernel refused.
    """
    try:
        fd = syscalls.socket(syscalls.AF_INET, syscalls.SOCK_DGRAM)
        try:
            request = bytearray(b"lo".ljust(_IFREQ_BYTES, b"\0"))
            fcntl.ioctl(fd, _SIOCGIFFLAGS, request)
            request[_LOW_BYTE] |= _IFF_UP
            fcntl.ioctl(fd, _SIOCSIFFLAGS, request)
        finally:
            posix.close(fd)
    except OSError as error:
        raise KernelError("bring the loopback interface up", error) from error
