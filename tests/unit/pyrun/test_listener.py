"""The helper that sends a seccomp listener; the kernel tests have the rest."""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
from typing import Any

import pytest

from pyrun.container import listener


def helper(sender: socket.socket, word: int, parent: int) -> int:
    """The exit status of a helper that finds ``word`` where the listener's number belongs."""
    shared = mmap.mmap(-1, 8)
    shared[:8] = struct.pack("Q", word)
    pid = os.fork()
    if pid == 0:
        listener._send(sender.fileno(), shared, parent, b'{"fds": 1}')
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("gone", [False, True])
def test_the_listener_is_sent_or_the_reason_is_told(gone: bool) -> None:
    ours, theirs = socket.socketpair()
    read_fd, write_fd = os.pipe()
    try:
        if gone:
            theirs.close()
        status = helper(ours, write_fd + 1, os.getpid())
        assert status == (errno.EPIPE if gone else 0)
        if gone:
            return
        data, (received_fd,), _, _ = socket.recv_fds(theirs, 100, 2)
        assert data == b'{"fds": 1}'
        assert theirs.recv(1) == b""  # whoever reads to the end is not left waiting
        os.write(received_fd, b"same")
        os.close(received_fd)
        assert os.read(read_fd, 10) == b"same"
    finally:
        ours.close()
        theirs.close()
        os.close(read_fd)
        os.close(write_fd)


def test_a_receiver_may_close_as_soon_as_it_has_the_listener(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    read_fd, write_fd = os.pipe()

    class Raced(socket.socket):
        def sendmsg(self, *arguments: Any) -> int:
            sent = super().sendmsg(*arguments)
            theirs.shutdown(socket.SHUT_RDWR)
            return sent

    monkeypatch.setattr(listener, "socket", Raced)
    with ours, theirs:
        assert helper(ours, write_fd + 1, os.getpid()) == 0
    os.close(read_fd)
    os.close(write_fd)


@pytest.mark.parametrize(("word", "parent"), [(listener._NONE, os.getpid()), (0, 1)])
def test_without_a_listener_or_a_process_nothing_is_sent(word: int, parent: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert helper(ours, word, parent) == listener._LEFT_ALONE
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
