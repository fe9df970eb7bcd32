"""No byte is lost or reordered between the container, its log and the attached clients."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest

from support.monitors import Container, is_running, receive_all
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox")

Make = Callable[..., Container]

MIB = 1 << 20


def logged_bytes(made: Container, stream: str) -> bytes:
    """What the log holds of a stream, its partial lines joined."""
    output = []
    for line in made.log.read_bytes().split(b"\n")[:-1]:
        _, name, tag, text = line.split(b" ", 3)
        if name == stream.encode():
            output += [text] if tag == b"P" else [text, b"\n"]
    return b"".join(output)


def test_every_byte_reaches_the_log(make: Make) -> None:
    made = make(["sh", "-c", "seq 1 300000; head -c 3000000 /dev/zero >&2"])
    assert made.run() == "0"
    assert logged_bytes(made, "stdout") == b"".join(b"%d\n" % n for n in range(1, 300001))
    assert logged_bytes(made, "stderr") == bytes(3000000)


def test_attached_clients_see_both_streams(make: Make) -> None:
    made = make(["sh", "-c", "seq 1 3000; echo err >&2"])
    made.create()
    clients = [made.attach(), made.attach()]
    made.start()
    for client in clients:
        assert receive_all(client) == {
            2: b"".join(b"%d\n" % n for n in range(1, 3001)), 3: b"err\n",
        }  # fmt: skip
    assert made.wait() == "0"


def test_stdin_comes_from_a_client_and_ends_with_it(make: Make) -> None:
    made = make(["cat"])
    made.create("-i")
    client = made.attach()
    made.start()
    sent = os.urandom(MIB // 2)
    received = b""
    for start in range(0, len(sent), 8192):
        client.send(sent[start : start + 8192])
        received += client.recv(16384)[1:]
    client.shutdown(socket.SHUT_WR)
    received += receive_all(client).get(2, b"")
    assert received == sent
    assert made.wait() == "0"


def test_stdin_stays_open_when_asked_to(make: Make) -> None:
    made = make(["cat"])
    made.create("-i", "--leave-stdin-open")
    made.start()
    for text in (b"one\n", b"two\n"):
        with made.attach() as client:
            client.send(text)
            assert client.recv(100) == b"\x02" + text
    wait_for(lambda: len(made.log_lines()) == 2, "both lines")
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"


def test_a_client_that_vanishes_does_not_disturb_the_container(make: Make) -> None:
    made = make(["sh", "-c", "read go; seq 1 200000"])
    made.create("-i", "--leave-stdin-open")
    made.start()
    vanishing, driver = made.attach(), made.attach()
    driver.send(b"go\n")
    assert vanishing.recv(100)
    vanishing.close()
    assert receive_all(driver)[2].endswith(b"200000\n")
    assert made.wait() == "0"
    assert logged_bytes(made, "stdout").endswith(b"\n200000\n")


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_client_that_reads_nothing_does_not_stop_the_container(make: Make) -> None:
    """Under conmon the container would wait for the client."""
    made = make(["sh", "-c", "head -c 4000000 /dev/zero; head -c 4000000 /dev/zero"])
    made.create()
    with made.attach() as stalled:
        made.start()
        assert made.wait() == "0"
        assert len(logged_bytes(made, "stdout")) == 8000000
        assert len(receive_all(stalled)[2]) == 8000000, "it gets everything when it reads again"


def send_until_stuck(client: socket.socket) -> int:
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += client.send(b"x" * 8192)
    except TimeoutError:
        return sent
    return sent


def test_input_that_the_container_does_not_read_waits(make: Make) -> None:
    made = make(["sh", "-c", "read go < /tmp/fifo; cat"])
    os.mkfifo(made.bundle / "rootfs/tmp/fifo")
    made.create("-i")
    made.start()
    client = made.attach()
    client.settimeout(0.2)
    sent = send_until_stuck(client)
    assert sent < 8 * MIB, "the client is held up, the monitor does not hoard"
    client.settimeout(60)
    (made.bundle / "rootfs/tmp/fifo").write_text("go\n")
    client.shutdown(socket.SHUT_WR)
    assert receive_all(client)[2] == b"x" * sent
    assert made.wait() == "0"


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_who_connects_before_the_start_gets_all_of_the_output(make: Make) -> None:
    """However late the monitor looks; conmon takes one client a round and loses the others."""
    made = make(["sh", "-c", "seq 1 3000; echo err >&2"])
    pid = made.create()["data"]
    os.kill(made.monitor_pid, signal.SIGSTOP)
    try:
        clients = [made.attach() for _ in range(3)]
        made.start()
        wait_for(lambda: not is_running(pid), "the container's end")
    finally:
        os.kill(made.monitor_pid, signal.SIGCONT)
    for client in clients:
        assert receive_all(client) == {
            2: b"".join(b"%d\n" % n for n in range(1, 3001)), 3: b"err\n",
        }  # fmt: skip
