"""Descriptors that come through a socket (unix(7), SCM_RIGHTS)."""

from __future__ import annotations

import _socket
import sys

_INT_BYTES = 4
_MESSAGE_BYTES = 4096


def receive_fds(connection: _socket.socket, most: int) -> list[int]:
    """The descriptors of one message; the caller owns them.

    Raises:
        OSError: there is none (BlockingIOError), or the connection failed.
    """
    _, ancillary, _, _ = connection.recvmsg(
        _MESSAGE_BYTES, _socket.CMSG_SPACE(most * _INT_BYTES), _socket.MSG_CMSG_CLOEXEC
    )
    return [
        int.from_bytes(data[start : start + _INT_BYTES], sys.byteorder)
        for level, kind, data in ancillary
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS
        for start in range(0, len(data) - len(data) % _INT_BYTES, _INT_BYTES)
    ]
