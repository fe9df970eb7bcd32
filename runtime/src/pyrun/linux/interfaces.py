"""The loopback interface of a new network namespace."""

from __future__ import annotations

import fcntl
import struct
from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket

from pyrun.errors import KernelError

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def set_loopback_up() -> None:
    """Bring ``lo`` up, as runc and crun do (netdevice(7)).

    Raises:
        KernelError: the kernel refused.
    """
    try:
        made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
        try:
            request = struct.pack("16sh22x", b"lo", 0)
            flags = struct.unpack_from("h", fcntl.ioctl(made.fileno(), _SIOCGIFFLAGS, request), 16)
            word = struct.pack("16sh22x", b"lo", flags[0] | _IFF_UP)
            fcntl.ioctl(made.fileno(), _SIOCSIFFLAGS, word)
        finally:
            made.close()
    except OSError as error:
        raise KernelError("bring the loopback interface up", error) from error
