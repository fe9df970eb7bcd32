"""Exec mode: one more process in a running container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.monitors import Container, ExecSession, is_running, receive_all
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox")

Make = Callable[..., Container]


@pytest.fixture
def running(make: Make) -> Iterator[Container]:
    made = make(["sleep", "1000"])
    made.create()
    made.start()
    yield made
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"


def test_pid_and_exit_code_come_through_the_sync_pipe(running: Container) -> None:
    session = ExecSession(running, ["sh", "-c", "echo in; echo err >&2; exit 4"])
    pid, code = session.run()
    assert pid == {"data": int(session.pid_file.read_text())}
    assert code == {"data": 4}
    assert sorted(line.split(" ", 1)[1] for line in session.log.read_text().splitlines()) == [
        "stderr F err", "stdout F in",
    ]  # fmt: skip
    assert (session.directory / running.id).read_text() == "4"


def test_before_api_version_1_only_the_exit_code_is_sent(running: Container) -> None:
    session = ExecSession(running, ["sh", "-c", "exit 4"])
    command = session.command()
    del command[1:3]
    _, fd = running.launch(command)
    with os.fdopen(fd) as sync:
        assert sync.read() == '{"exit_code": 4}\n'


def test_a_command_that_does_not_exist_is_the_runtimes_message(running: Container) -> None:
    session = ExecSession(running, ["nosuch"])
    (failure,) = session.run()
    assert failure["data"] == -1
    assert "nosuch" in failure["message"]


def test_an_old_pid_file_is_not_taken_for_the_new_process(running: Container) -> None:
    session = ExecSession(running, ["nosuch"])
    session.pid_file.write_text("1")
    (failure,) = session.run()
    assert failure["data"] == -1


def test_an_attached_exec_waits_for_its_client(running: Container) -> None:
    session = ExecSession(running, ["sh", "-c", "echo first; cat"])
    sync_read, sync_write = os.pipe()
    start_read, start_write = os.pipe()
    attach_read, attach_write = os.pipe()
    environment = {
        **os.environ,
        "_OCI_SYNCPIPE": str(sync_write),
        "_OCI_STARTPIPE": str(start_read),
        "_OCI_ATTACHPIPE": str(attach_write),
    }
    subprocess_fds = (sync_write, start_read, attach_write)
    with subprocess.Popen(
        session.command("--exec-attach", "-i"), pass_fds=subprocess_fds, env=environment
    ):
        for fd in subprocess_fds:
            os.close(fd)
        os.write(start_write, b"x")
        with os.fdopen(attach_read) as attach:
            assert attach.readline() == '{"data": 0}\n'
    client = running.attach_at(session.directory)
    os.write(start_write, b"x")
    os.close(start_write)
    client.send(b"second\n")
    output = b""
    while not output.endswith(b"second\n"):
        output += client.recv(8193)[1:]
    assert output == b"first\nsecond\n"
    client.shutdown(1)
    assert receive_all(client) == {}
    with os.fdopen(sync_read) as sync:
        assert sync.read().splitlines()[1] == '{"data": 0}'


def test_a_time_out_kills_and_says_so(running: Container) -> None:
    session = ExecSession(running, ["sleep", "1000"])
    pid, code = session.run("--timeout", "1")
    assert code == {"data": -1, "message": "command timed out"}
    wait_for(lambda: not is_running(pid["data"]), "the end of the process")


def test_many_execs_leave_no_process_and_no_descriptor(running: Container) -> None:
    running.settle()
    before = os.listdir(f"/proc/{running.monitor_pid}/fd")
    for number in range(8):
        session = ExecSession(running, ["sh", "-c", f"exit {number}"])
        pid, code = session.run()
        assert code == {"data": number}
        assert not is_running(pid["data"])
    assert os.listdir(f"/proc/{running.monitor_pid}/fd") == before
    children = Path(f"/proc/{running.monitor_pid}/task/{running.monitor_pid}/children")
    assert len(children.read_text().split()) == 1, "only the container itself"


MANY_EXECS = Path(__file__).parents[2] / "support/many_execs.py"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_hundreds_of_execs_leave_no_process_no_zombie_and_no_socket(
    monitor: str, tmp_path: Path
) -> None:
    """Four at once, by a runtime that takes no time itself."""
    command = [sys.executable, str(MANY_EXECS), monitor, str(tmp_path), "300"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=800)
    assert json.loads(done.stdout) == {"right": 300, "ended": 300, "left": 0, "sockets": 0}
