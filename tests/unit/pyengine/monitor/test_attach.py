from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyengine.monitor.attach import Attachment
from pyengine.monitor.exits import Exit, Watch, open_pidfd

STREAM = b"\x02"


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "attach"))
        listening.listen()
        yield listening


def attend(bundle: Path, *, stdin: bool = False) -> Exit | None:
    fds = (open_pidfd(os.getpid()), open_pidfd(os.getpid()))
    watch = Watch(f"{bundle}/id", str(bundle), *fds, "web")
    attachment = Attachment(str(bundle), stdin=stdin, terminal=False, detach_keys=b"")
    try:
        return attachment.run(watch, lambda _number: None)
    finally:
        attachment.close()
        watch.close()


def test_output_that_the_monitor_sends_after_the_exit_file_is_not_lost(
    tmp_path: Path, monitor: socket.socket, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def send_late() -> None:
        connection, _ = monitor.accept()
        with connection:
            connection.send(STREAM + b"first\n")
            (tmp_path / "id").write_text("7")
            time.sleep(0.1)  # the client has seen the exit file, and nothing is there to read
            connection.send(STREAM + b"last\n")

    sender = threading.Thread(target=send_late)
    sender.start()
    how = attend(tmp_path)
    sender.join()
    assert how is not None
    assert how.code == 7
    assert capfdbinary.readouterr().out == b"first\nlast\n"


def test_output_behind_input_that_nobody_read_is_not_lost(
    tmp_path: Path, monitor: socket.socket, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"never read")

    def leave() -> None:
        connection, _ = monitor.accept()
        with connection:
            connection.recv(1, socket.MSG_PEEK)
            connection.send(STREAM + b"out\n")
            (tmp_path / "id").write_text("0")

    saved = os.dup(0)
    os.dup2(read_fd, 0)
    try:
        leaver = threading.Thread(target=leave)
        leaver.start()
        assert attend(tmp_path, stdin=True)
        leaver.join()
    finally:
        os.dup2(saved, 0)
        for fd in (saved, read_fd, write_fd):
            os.close(fd)
    assert capfdbinary.readouterr().out == b"out\n"
