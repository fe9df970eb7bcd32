"""A container with a terminal: console socket, size, input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.monitors import Container, ExecSession, receive_all
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox")

Make = Callable[..., Container]


def test_output_of_a_terminal_is_logged_with_its_line_ends(make: Make) -> None:
    made = make(["sh", "-c", "echo out; echo err >&2; exit 4"], terminal=True)
    assert made.run("-t") == "4"
    assert made.log.read_bytes().count(b"\r\n") == 2
    assert {stream for stream, _, _ in made.log_lines()} == {"stdout"}


def test_no_console_socket_is_left_behind(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path("/tmp") / f"t{tmp_path.stat().st_ino}"
    short.mkdir()
    try:
        monkeypatch.setenv("TMPDIR", str(short))
        assert make(["true"], terminal=True).run("-t") == "0"
        assert list(short.iterdir()) == []
    finally:
        short.rmdir()


def test_the_window_follows_the_control_fifo(make: Make) -> None:
    made = make(["sh", "-c", "read go; stty size; read go; stty size"], terminal=True)
    made.create("-t", "-i")
    made.start()
    client = made.attach()
    for fifo, line in (("ctl", "1 33 111\n"), ("winsz", "44 122\n")):
        (made.bundle / fifo).write_text(line)
        # The fifo is read before the socket or after it: ask until the size has changed.
        wanted = " ".join(line.split()[-2:]).encode()
        if fifo == "ctl":
            wait_for(lambda: window_of(made) == b"33 111", "the first size")
        else:
            wait_for(lambda: window_of(made) == b"44 122", "the second size")
        client.send(b"\n")
        output = b""
        while wanted not in output:
            output += client.recv(8193)[1:]
    assert made.wait() == "0"


def window_of(made: Container) -> bytes:
    """The size of the container's terminal, seen from inside."""
    done = made.run_runtime("exec", made.id, "stty", "-F", "/dev/console", "size")
    return done.stdout.strip().encode()


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)  # conmon has limits since 2.2
def test_what_is_no_control_message_changes_nothing(make: Make) -> None:
    made = make(["sh", "-c", "stty size; read go; stty size"], terminal=True)
    made.create("-t", "-i")
    (made.bundle / "ctl").write_text("1 33 111\n")
    made.start()
    client = made.attach()
    assert window_of(made) == b"33 111"
    for line in ("nonsense\n", "1 5000 1\n", "9 1 1\n", "1 2\n", "x" * 500 + "\n"):
        (made.bundle / "ctl").write_text(line)
    client.send(b"\n")
    assert receive_all(client)[2].endswith(b"33 111\r\n")
    assert made.wait() == "0"


def test_interrupt_typed_at_a_terminal_reaches_the_process(make: Make) -> None:
    made = make(["sh", "-c", "trap 'exit 5' INT; echo ready; while :; do :; done"], terminal=True)
    made.create("-t", "-i")
    client = made.attach()
    made.start()
    assert b"ready" in client.recv(100)
    client.send(b"\x03")
    assert made.wait() == "5"


def test_a_terminal_that_is_flooded_can_still_be_interrupted(make: Make) -> None:
    made = make(
        ["sh", "-c", "trap 'exit 5' INT; while :; do echo yyyyyyyyyyyyyyyyyyyyyyyy; done"],
        terminal=True,
    )
    made.create("-t", "-i", "--log-size-max", "100000")
    made.start()
    with made.attach() as client:
        assert client.recv(8193)
        client.send(b"\x03")
        assert made.wait() == "5"


def test_exec_with_a_terminal(make: Make) -> None:
    made = make(["sleep", "1000"])
    made.create()
    made.start()
    session = ExecSession(made, ["sh", "-c", "[ -t 0 ] && echo terminal; exit 6"], terminal=True)
    pid, code = session.run()
    assert pid["data"] > 0
    assert code == {"data": 6}
    assert "stdout F terminal" in session.log.read_text()
