"""Gives a process's pidfd to whoever listens on a socket (``--pidfd-socket``, pidfd_open(2))."""

from __future__ import annotations

import posix
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

from pyrun.errors import KernelError


def send(path: str, pid: int, word: str) -> None:
    """Send it; the receiver can wait for the process or signal it whatever becomes of its number.

    Args:
        path: of the socket.
        pid: of a process that has not been waited for.
        word: what the process is, as in runc: ``standard`` is a container, ``setns`` an ``exec``.

    Raises:
        KernelError: nobody listens there.
    """
    try:
        pid_fd = posix.pidfd_open(pid)
        made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
        try:
            made.connect(path)
            rights = [(SOL_SOCKET, SCM_RIGHTS, pid_fd.to_bytes(4, sys.byteorder))]
            made.sendmsg([word.encode()], rights)
        finally:
            made.close()
            posix.close(pid_fd)
    except OSError as error:
        raise KernelError(f"send the pidfd to the socket {path}", error) from error
