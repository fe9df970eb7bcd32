"""The drivers that write no file: journald, passthrough, none; and the sd-notify relay."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.monitors import Container

pytestmark = pytest.mark.needs("root", "runc", "busybox")

Make = Callable[..., Container]

# Shows a directory of the test as /run/systemd/journal, to the monitor alone.
JOURNAL_VIEW = (
    "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal"
    ' && mount --bind "$0" /run/systemd/journal && exec "$@"'
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(60)
        yield receiver


def fields_of(datagram: bytes) -> dict[str, bytes]:
    """Reads systemd's native protocol."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            name, length = line, int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8 : 8 + length], datagram[8 + length + 1 :]
        fields[name.decode()] = value
    return fields


def received(journal: socket.socket, count: int) -> list[dict[str, bytes]]:
    return [fields_of(journal.recv(1 << 20)) for _ in range(count)]


def run_with_journal(made: Container, directory: Path, *more: str) -> None:
    made.prefix = ["unshare", "--mount", "sh", "-c", JOURNAL_VIEW, str(directory)]
    command = made.command(*more)
    command[command.index("-l") + 1] = "journald"
    _, fd = made.launch(command)
    with os.fdopen(fd) as sync:
        assert json.loads(sync.readline())["data"] > 0
    made.start()
    made.wait()


def test_lines_go_to_the_journal_with_conmons_fields(
    make: Make, tmp_path: Path, journal: socket.socket
) -> None:
    made = make(["sh", "-c", "echo out; sleep 0.2; echo err >&2; sleep 0.2; printf rest"])
    run_with_journal(made, tmp_path, "--log-tag", "tagged")
    out, err, rest = received(journal, 3)
    common = {
        "CONTAINER_ID_FULL": made.id.encode(),
        "CONTAINER_ID": made.id[:12].encode(),
        "CONTAINER_TAG": b"tagged",
        "CONTAINER_NAME": b"name",
        "SYSLOG_IDENTIFIER": b"tagged",
    }
    for fields in (out, err, rest):
        for name in ("CODE_FILE", "CODE_LINE", "CODE_FUNC"):  # of conmon's source
            fields.pop(name, None)
    assert out == {**common, "MESSAGE": b"out\n", "PRIORITY": b"6"}
    assert err == {**common, "MESSAGE": b"err\n", "PRIORITY": b"3"}
    assert rest == {
        **common, "MESSAGE": b"rest", "PRIORITY": b"6", "CONTAINER_PARTIAL_MESSAGE": b"true",
    }  # fmt: skip


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_labels_and_priorities_reach_the_journal(
    make: Make, tmp_path: Path, journal: socket.socket
) -> None:
    """As conmon does it since 2.2."""
    made = make(["sh", "-c", "echo '<4>careful'"])
    run_with_journal(made, tmp_path, "--log-label", "TEAM=a b")
    (fields,) = received(journal, 1)
    assert (fields["MESSAGE"], fields["PRIORITY"]) == (b"careful\n", b"4")
    assert fields["TEAM"] == b"a b"


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_without_a_journal_the_container_is_refused(make: Make, tmp_path: Path) -> None:
    """conmon starts it, and its output is lost."""
    made = make(["true"])
    made.prefix = ["unshare", "--mount", "sh", "-c", JOURNAL_VIEW, str(tmp_path)]
    command = made.command()
    command[command.index("-l") + 1] = "journald"
    done, fd = made.launch(command)
    os.close(fd)
    assert done.returncode == 1
    assert "no journal answers at /run/systemd/journal/socket" in done.stderr


def test_passthrough_gives_the_container_the_callers_streams(make: Make, tmp_path: Path) -> None:
    made = make(["sh", "-c", "cat; echo err >&2; exit 5"])
    command = made.command()
    command[command.index("-l") + 1] = "passthrough"
    (tmp_path / "in").write_text("through\n")
    sync_read, sync_write = os.pipe()
    with (
        open(tmp_path / "in") as stdin,
        open(tmp_path / "out", "w") as stdout,
        open(tmp_path / "err", "w") as stderr,
    ):
        subprocess.run(
            command, pass_fds=(sync_write,), stdin=stdin, stdout=stdout, stderr=stderr,
            env={**os.environ, "_OCI_SYNCPIPE": str(sync_write)}, check=True, timeout=60,
        )  # fmt: skip
    os.close(sync_write)
    with os.fdopen(sync_read) as sync:
        assert json.loads(sync.readline())["data"] > 0
    made.start()
    assert made.wait() == "5"
    assert (tmp_path / "out").read_text() == "through\n"
    assert (tmp_path / "err").read_text() == "err\n"
    assert not (made.bundle / "attach").exists()


def test_no_log_at_all(make: Make) -> None:
    made = make(["sh", "-c", "echo out; exit 2"])
    command = made.command()
    command[command.index("-l") + 1] = "none"
    _, fd = made.launch(command)
    with os.fdopen(fd) as sync:
        assert json.loads(sync.readline())["data"] > 0
    made.start()
    assert made.wait() == "2"
    assert not made.log.exists()


def test_reopened_logs_follow_a_rename(make: Make) -> None:
    made = make(["cat"])
    made.create("-i")
    made.start()
    client = made.attach()
    client.send(b"one\n")
    client.recv(100)
    made.log.rename(f"{made.log}.old")
    (made.bundle / "ctl").write_text("2 0 0\n")
    while not made.log.exists():
        client.send(b"two\n")
        client.recv(100)
    client.send(b"three\n")
    client.recv(100)
    client.shutdown(socket.SHUT_WR)
    assert made.wait() == "0"
    assert "F one" in Path(f"{made.log}.old").read_text()
    assert made.log_lines()[-1] == ("stdout", "F", "three")


def test_readiness_is_relayed_to_the_host(make: Make, tmp_path: Path) -> None:
    made = make(["true"])
    (made.bundle / "notify").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(str(tmp_path / "host"))
        host.settimeout(60)
        made.create("--sdnotify-socket", str(tmp_path / "host"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
            service.sendto(b"MAINPID=1\nREADY=1", str(made.bundle / "notify/notify.sock"))
        assert host.recv(100) == b"READY=1"
    made.start()
    assert made.wait() == "0"
