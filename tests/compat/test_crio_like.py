"""The monitor as CRI-O 1.30 starts it: its command lines, descriptors and environment.

CRI-O gives an environment without PATH, descriptors 3 and 4, the bundle as working directory, and
no ``--api-version``; it reads ``pid`` and ``exit_code`` from the sync pipe.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.monitors import is_running, make_bundle, read_if_there
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox", "runc")

PATIENCE_S = 60
EXEC_LOG_LIMIT = 16777216


class Crio:
    """One container of a CRI-O that uses one monitor and one runtime."""

    def __init__(self, directory: Path, monitor: str, runtime: str) -> None:
        self.directory, self.monitor, self.runtime = directory, monitor, runtime
        self.id = f"{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self.bundle = directory / "bundle"
        self.dir = directory / "persist"
        self.exits, self.sockets = directory / "exits", directory / "sockets"
        for path in (self.bundle, self.dir, self.exits, self.sockets):
            path.mkdir()
        self.log = directory / "ctr.log"
        self.pid_file = self.bundle / "conmon-pid"
        self.root = f"--root={directory}/root"
        self.clients: list[socket.socket] = []

    def start_monitor(self, arguments: list[str]) -> tuple[subprocess.Popen[bytes], int]:
        """Start it, let it go on as soon as it is in its cgroup; also its sync pipe."""
        sync_read, sync_write = os.pipe()
        start_read, start_write = os.pipe()
        # What Go's ExtraFiles do: descriptors 3 and 4 and no other.
        high_sync, high_start = (
            fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (sync_write, start_read)
        )
        launcher = 'eval "exec 3>&$0 4<&$1 $0>&- $1<&-"; shift; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", launcher, str(high_sync), str(high_start), self.monitor, *arguments],
            cwd=self.bundle,
            env={"_OCI_SYNCPIPE": "3", "_OCI_STARTPIPE": "4", "XDG_RUNTIME_DIR": "/run"},
            pass_fds=(high_sync, high_start),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for fd in (sync_write, start_read, high_sync, high_start):
            os.close(fd)
        os.write(start_write, b"\0")
        os.close(start_write)
        return process, sync_read

    def create(self, script: str, *more: str, terminal: bool = False) -> dict[str, Any]:
        make_bundle(self.bundle, ["sh", "-c", script], terminal=terminal)
        process, sync = self.start_monitor(
            [
                "-b", str(self.bundle), "-c", self.id, "--exit-dir", str(self.exits),
                "-l", str(self.log), "--log-level", "info", "-n", "k8s_ctr_pod_default_uid_0",
                "-P", str(self.pid_file), "-p", str(self.bundle / "pidfile"),
                "--persist-dir", str(self.dir), "-r", self.runtime, "--runtime-arg", self.root,
                "--socket-dir-path", str(self.sockets), "--syslog", "-u", self.id, *more,
            ]
        )  # fmt: skip
        with process:
            _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        with os.fdopen(sync) as pipe:
            return dict(json.loads(pipe.readline()))

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.runtime, self.root, *arguments],
            check=False, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip

    def exec_sync(self, script: str, *more: str) -> tuple[int, dict[str, Any], list[str]]:
        """Exit status of the monitor, what it reported, what it logged."""
        spec = self.directory / "process.json"
        process = json.loads((self.bundle / "config.json").read_text())["process"]
        spec.write_text(json.dumps({**process, "args": ["sh", "-c", script]}))
        log, pid_file = self.directory / "exec.log", self.directory / "exec.pid"
        log.touch()
        pid_file.touch()
        arguments = [
            "-c", self.id, "-n", "k8s_ctr_pod_default_uid_0", "-r", self.runtime,
            "-p", str(pid_file), "-e", "-l", str(log), "--socket-dir-path", str(self.sockets),
            "--log-level", "info", "--sync", "--log-global-size-max", str(EXEC_LOG_LIMIT), *more,
            "--exec-process-spec", str(spec), "--runtime-arg", self.root,
        ]  # fmt: skip
        monitor, sync = self.start_monitor(arguments)
        with monitor:
            monitor.communicate(timeout=PATIENCE_S)
        with os.fdopen(sync) as pipe:
            answer = dict(json.loads(pipe.readline()))
        return monitor.returncode, answer, log.read_text().splitlines()

    def attach(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.clients.append(client)
        directory_fd = os.open(self.sockets / self.id, os.O_PATH)  # a socket's path is short
        try:
            client.connect(f"/proc/self/fd/{directory_fd}/attach")
        finally:
            os.close(directory_fd)
        client.settimeout(PATIENCE_S)
        return client

    def wait(self) -> str:
        path = self.exits / self.id
        return str(wait_for(lambda: read_if_there(path), "the exit file"))

    def destroy(self) -> None:
        for client in self.clients:
            client.close()
        self.call("delete", "--force", self.id)
        pid = read_if_there(self.pid_file)
        if pid:
            wait_for(lambda: not is_running(pid), "the monitor's end")


@pytest.fixture(params=["pyconmon", pytest.param("conmon", marks=pytest.mark.needs("conmon"))])
def monitor(request: pytest.FixtureRequest) -> str:
    if request.param == "pyconmon":
        return str(request.getfixturevalue("pyconmon_path"))
    return shutil.which("conmon") or ""


@pytest.fixture(params=["runc", "pyrun"])
def crio(
    request: pytest.FixtureRequest, tmp_path: Path, monitor: str, pyrun_path: str
) -> Iterator[Crio]:
    runtime = pyrun_path if request.param == "pyrun" else shutil.which("runc") or ""
    made = Crio(tmp_path, monitor, runtime)
    try:
        yield made
    finally:
        made.destroy()


def stripped(lines: list[str]) -> list[str]:
    """Log lines without their time."""
    return [line.split(" ", 1)[1] for line in lines]


def test_a_container_is_created_runs_and_leaves_its_exit_code(crio: Crio) -> None:
    answer = crio.create("echo out; echo err >&2; exit 7", "--log-size-max", "52428800")
    assert answer == {"pid": int((crio.bundle / "pidfile").read_text())}
    assert crio.call("start", crio.id).returncode == 0
    assert crio.wait() == "7"
    assert (crio.dir / "exit").read_text() == "7"
    lines = stripped(crio.log.read_text().splitlines())
    assert sorted(lines) == ["stderr F err", "stdout F out"]


def test_a_failed_creation_is_told_as_pid_minus_one(crio: Crio) -> None:
    answer = crio.create("true", "--runtime-opt", "--no-such-option-of-any-runtime")
    assert answer["pid"] == -1
    assert "no-such-option" in answer["message"]


def test_exec_sync_returns_output_and_exit_code(crio: Crio) -> None:
    crio.create("sleep 1000")
    assert crio.call("start", crio.id).returncode == 0
    status, answer, lines = crio.exec_sync("echo out; echo err >&2; printf rest; exit 3")
    assert (status, answer) == (3, {"exit_code": 3})
    assert sorted(stripped(lines)) == ["stderr F err", "stdout F out", "stdout P rest"]


def test_exec_sync_times_out_with_crios_message(crio: Crio) -> None:
    crio.create("sleep 1000")
    assert crio.call("start", crio.id).returncode == 0
    _, answer, _ = crio.exec_sync("sleep 1000", "-T", "1")
    assert answer == {"exit_code": -1, "message": "command timed out"}


def test_an_exec_that_cannot_start_says_why(crio: Crio) -> None:
    crio.create("sleep 1000")
    _, answer, _ = crio.exec_sync("true", "--runtime-opt", "--no-such-option-of-any-runtime")
    assert answer["exit_code"] == -1
    assert "no-such-option" in answer["message"]


def test_a_terminal_is_attached_and_resized_through_the_bundle(crio: Crio) -> None:
    # which of the size and the input conmon sees first is open; stty fails while there is no size
    script = "read go; until stty size 2>/dev/null; do :; done; read end; exit 2"
    assert crio.create(script, "-t", terminal=True)["pid"] > 0
    client = crio.attach()
    assert crio.call("start", crio.id).returncode == 0
    (crio.bundle / "ctl").write_text("1 44 122\n")
    client.send(b"go\n")
    output = b""
    while b"122" not in output:  # before the container ends: conmon may lose its last words
        packet = client.recv(16384)
        assert packet, output
        output += packet[1:]
    client.send(b"end\n")
    assert output.split() == [b"go", b"44", b"122"]
    assert crio.wait() == "2"
    client.close()


@pytest.mark.parametrize("stay_open", [False, True])
def test_standard_input_ends_with_its_client_or_stays(crio: Crio, stay_open: bool) -> None:
    crio.create("cat", *(["--leave-stdin-open"] if stay_open else []), "-i")
    assert crio.call("start", crio.id).returncode == 0
    client = crio.attach()
    client.send(b"text\n")
    assert client.recv(100) == b"\x02text\n"
    client.shutdown(socket.SHUT_WR)
    if stay_open:
        with crio.attach() as second:
            second.send(b"more\n")
            assert second.recv(100) == b"\x02more\n"
        crio.call("kill", crio.id, "KILL")
    client.close()
    assert crio.wait() == ("137" if stay_open else "0")


def test_a_rotated_log_is_reopened_on_request(crio: Crio) -> None:
    """What the kubelet asks for after it has renamed a log."""
    crio.create("cat", "-i")
    assert crio.call("start", crio.id).returncode == 0
    with crio.attach() as client:
        client.send(b"one\n")
        assert client.recv(100) == b"\x02one\n"
        crio.log.rename(f"{crio.log}.old")
        (crio.bundle / "ctl").write_text("2 0 0\n")
        wait_for(crio.log.exists, "the new log")
        client.send(b"two\n")
        assert client.recv(100) == b"\x02two\n"
    assert crio.wait() == "0"
    assert stripped(Path(f"{crio.log}.old").read_text().splitlines()) == ["stdout F one"]
    assert stripped(crio.log.read_text().splitlines()) == ["stdout F two"]


def test_the_caller_is_free_once_the_monitor_has_forked(crio: Crio) -> None:
    """Nobody keeps CRI-O's end of the sync pipe open after the container's end."""
    make_bundle(crio.bundle, ["sh", "-c", "exit 0"])
    process, sync = crio.start_monitor(
        ["-b", str(crio.bundle), "-c", crio.id, "--exit-dir", str(crio.exits), "-l", str(crio.log),
         "-n", "n", "-P", str(crio.pid_file), "-p", str(crio.bundle / "pidfile"), "-u", crio.id,
         "-r", crio.runtime, "--runtime-arg", crio.root, "--socket-dir-path", str(crio.sockets)]
    )  # fmt: skip
    with process:
        process.communicate(timeout=PATIENCE_S)
    with os.fdopen(sync) as pipe:
        assert json.loads(pipe.readline())["pid"] > 0
        crio.call("start", crio.id)
        readable, _, _ = select.select([pipe], [], [], PATIENCE_S)
        assert readable, "the end of the sync pipe"
        assert pipe.read() == ""
    assert crio.wait() == "0"
