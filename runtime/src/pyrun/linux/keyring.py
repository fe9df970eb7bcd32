"""A session keyring per container, so that keys of the caller stay out (session-keyring(7))."""

from __future__ import annotations

import errno

from pyrun import syscalls
from pyrun.errors import KernelError

_USER_SEARCH = 0x080000


def join(name: str) -> None:
    """Join the session keyring ``name``, making it if need be.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        keyring = syscalls.keyctl(syscalls.KEYCTL_JOIN_SESSION_KEYRING, name)
        # The container's users may search it, as they could search the one they lost.
        permissions = _permissions(keyring)
        syscalls.keyctl(syscalls.KEYCTL_SETPERM, keyring, permissions | _USER_SEARCH)
    except OSError as error:
        # a kernel without keyrings has nothing to keep apart
        if error.errno != errno.ENOSYS:
            raise KernelError(f"join the session keyring {name}", error) from error


def _permissions(keyring: int) -> int:
    """The permission mask: field four of "type;uid;gid;perm;description" (keyctl_describe(3))."""
    buffer = bytearray(512)
    address = syscalls.address_of(buffer)
    length = syscalls.keyctl(syscalls.KEYCTL_DESCRIBE, keyring, address, len(buffer))
    return int(bytes(buffer[:length]).split(b";")[3], 16)
