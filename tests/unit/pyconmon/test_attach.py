from __future__ import annotations

import fcntl
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyconmon import attach, backlog, diagnostics, loop, stdio

PACKET = bytes(8192)


class Peer:
    """An attach server with a pipe as the container's input, and its loop."""

    def __init__(self, directory: Path) -> None:
        self.loop = loop.Loop()
        self.input = attach.Input(self.loop, awaited=False)
        self.input_fd, write_fd = os.pipe()
        stdio.set_nonblocking(write_fd)
        self.input.open(write_fd)
        self.held: list[bool] = []
        self.server = attach.AttachServer(
            self.loop, self.input, str(directory), None, self.held.append,
            close_input_with_client=True,
        )  # fmt: skip
        self.directory = directory
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.clients.append(client)
        client.settimeout(60)
        client.connect(str(self.directory / "attach"))
        self.turn(lambda: len(self.server.clients) == len(self.clients))
        return client

    def turn(self, until: Callable[[], bool]) -> None:
        """Run the loop until something holds."""

        def look() -> None:
            if until():
                self.loop.stop()
            else:
                self.loop.after(0.001, look)

        look()
        if not until():
            self.loop.run()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    made = Peer(tmp_path)
    yield made
    for client in made.clients:
        client.close()
    made.server.stop_listening()
    made.server.close()
    made.input.close()
    os.close(made.input_fd)


def test_a_client_that_lags_gets_everything_in_order(peer: Peer) -> None:
    client = peer.connect()
    blocks = [bytes((number % 251,)) * 8192 for number in range(500)]
    for block in blocks:
        peer.server.broadcast(2, block)
    assert peer.server.queued_bytes > 2 << 20, "more than memory holds"
    received: list[bytes] = []
    while len(received) < len(blocks):
        peer.turn(lambda: True)
        peer.server.clients[0].send()
        received.append(client.recv(16384))
    assert received == [b"\x02" + block for block in blocks]
    assert peer.server.queued_bytes == 0
    assert peer.held == []


def test_the_container_waits_for_a_client_that_is_too_far_behind(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_DISK_BYTES", 1 << 20)
    client = peer.connect()
    while not peer.held:
        peer.server.broadcast(2, PACKET)
    while peer.held == [True]:
        client.recv(16384)
        peer.server.clients[0].send()
    assert peer.held == [True, False]


def test_a_client_that_takes_nothing_is_dropped_in_the_end(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_DISK_BYTES", 1 << 20)
    monkeypatch.setattr(attach, "_STALLED_S", 0.05)
    monkeypatch.setattr("pyconmon.diagnostics.level", -1)
    peer.connect()
    while not peer.held:
        peer.server.broadcast(2, PACKET)
    peer.turn(lambda: peer.held == [True, False])
    assert peer.server.clients == []


def test_a_client_is_dropped_when_the_disk_takes_no_backlog(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: object, _packets: list[bytes]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backlog.Backlog, "append", full)
    monkeypatch.setattr("pyconmon.diagnostics.level", -1)
    peer.connect()
    other = peer.connect()
    for _ in range(200):
        peer.server.broadcast(2, PACKET)
        if peer.server.clients:
            other.recv(16384)
            peer.server.clients[-1].send()
    assert len(peer.server.clients) == 1, "only the one that reads nothing"


def test_a_client_that_hangs_up_is_heard_to_its_last_byte(peer: Peer) -> None:
    client = peer.connect()
    fcntl.fcntl(peer.input_fd, fcntl.F_SETPIPE_SZ, 4096)
    sent = client.send(PACKET) + client.send(PACKET)
    client.close()
    received = b""
    os.set_blocking(peer.input_fd, False)

    def read() -> bool:
        nonlocal received
        try:
            received += os.read(peer.input_fd, 1 << 20)
        except BlockingIOError:
            return False
        return len(received) == sent

    peer.turn(read)
    peer.turn(lambda: peer.server.clients == [])
    assert os.read(peer.input_fd, 1) == b"", "its end is the end of the input"


def test_packets_come_back_as_they_went(tmp_path: Path) -> None:
    queue = backlog.Backlog(str(tmp_path))
    packets = [bytes((number,)) * (number * 300) for number in range(1, 200)]
    queue.append(packets[:100])
    first = queue.take()
    queue.append(packets[100:])
    rest = []
    while taken := queue.take():
        rest += taken
    assert first + rest == packets
    assert queue.size == 0
    queue.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_free_descriptor_new_clients_wait_and_nothing_spins(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(diagnostics, "warn", warnings.append)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.clients.append(client)
    client.connect(str(peer.directory / "attach"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free_fd = os.dup(0)
    os.close(free_fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free_fd, limits[1]))
    try:
        peer.turn(lambda: bool(warnings))
        peer.loop.after(0.1, peer.loop.stop)
        peer.loop.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(warnings) == 1
    peer.turn(lambda: len(peer.server.clients) == 1)


def test_who_connects_at_the_very_end_is_sent_off_and_not_cut_off(peer: Peer) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as late:
        late.settimeout(60)
        late.connect(str(peer.directory / "attach"))
        peer.server.stop_listening()
        peer.server.finish()
        assert late.recv(100) == b"", "the end, and no ECONNRESET"


def test_the_last_client_that_leaves_is_told(peer: Peer) -> None:
    left: list[int] = []
    peer.server.on_empty = lambda: left.append(len(peer.server.clients))
    first, second = peer.connect(), peer.connect()
    for client in (first, second):
        client.close()
    peer.turn(lambda: bool(left))
    assert left == [0]
