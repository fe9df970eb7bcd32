"""What a service manager such as systemd is told of a container (``--sdnotify``)."""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")

CHECKED = ("--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-timeout", "20s")
FOREVER = ("sleep", "1000")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which a service manager listens, of which the engine knows."""
    with listening(str(tmp_path / "notify")) as found:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield found


def listening(address: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(address)
    found.settimeout(60)
    return found


def state(box: ContainerRoot, name: str) -> dict[str, Any]:
    return dict(json.loads(box.ok("inspect", name))[0])


def main_pid(box: ContainerRoot, name: str) -> bytes:
    return f"MAINPID={state(box, name)['State']['ConmonPid']}".encode()


@contextlib.contextmanager
def started(box: ContainerRoot, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on beside the test, and not longer."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with box.popen(*arguments, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def container_speaks(box: ContainerRoot, name: str, message: bytes) -> None:
    """Send from the container's view of the file system: busybox cannot."""
    pid = state(box, name)["State"]["Pid"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.sendto(message, f"/proc/{pid}/root/run/notify/notify.sock")


def test_a_container_says_itself_when_it_is_ready(
    box: ContainerRoot, manager: socket.socket
) -> None:
    box.ok("run", "-d", "--name", "own", "-e", "NOTIFY_SOCKET=/mine", "--read-only", "--user", "7",
           IMAGE, "sh", "-c",
           "env | grep NOTIFY; test -S $NOTIFY_SOCKET && echo there; exec sleep 1000")  # fmt: skip
    assert manager.recv(100) == main_pid(box, "own")
    assert box.ok("logs", "own") == "NOTIFY_SOCKET=/run/notify/notify.sock\nthere\n"
    container_speaks(box, "own", b"MAINPID=1\nREADY=1\nSTATUS=up")
    assert manager.recv(100) == b"READY=1\nSTATUS=up"
    assert state(box, "own")["Config"]["sdNotifyMode"] == "container"


@pytest.mark.needs("conmon", "runc")
def test_conmon_and_runc_do_not_know_whom_we_tell(
    box: ContainerRoot, manager: socket.socket
) -> None:
    conmon = shutil.which("conmon")
    assert conmon
    box.ok("run", "-d", "--name", "peers", "--conmon", conmon, "--runtime", "runc", IMAGE, *FOREVER)
    assert manager.recv(100) == main_pid(box, "peers")
    container_speaks(box, "peers", b"READY=1")
    assert manager.recv(100).rstrip(b"\n") == b"READY=1"


def test_an_abstract_socket_is_told_as_well(
    box: ContainerRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"pyengine{tmp_path}"[:90]
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with listening(f"\0{name}") as manager:
        box.ok("run", "-d", "--name", "abstract", IMAGE, *FOREVER)
        assert manager.recv(100) == main_pid(box, "abstract")
        container_speaks(box, "abstract", b"READY=1")
        assert manager.recv(100) == b"READY=1"


def test_a_start_is_told_of_one_container_or_of_none(
    box: ContainerRoot, manager: socket.socket
) -> None:
    ask = ("sh", "-c", "echo ${NOTIFY_SOCKET-none}; exec sleep 1000")
    box.ok("run", "-d", "--name", "silent", "--sdnotify", "ignore", IMAGE, *ask)
    box.ok("create", "--name", "needed", "--sdnotify", "conmon", IMAGE, *FOREVER)
    box.ok("create", "--name", "told", "--sdnotify=conmon", "--requires", "needed", IMAGE, *ask)
    box.ok("start", "told")
    assert manager.recv(100) == main_pid(box, "told") + b"\nREADY=1"
    assert box.ok("logs", "silent") == box.ok("logs", "told") == "none\n"
    assert state(box, "silent")["Config"]["sdNotifyMode"] == "ignore"
    assert state(box, "needed")["State"]["Running"]


def test_a_container_is_ready_once_it_is_healthy(
    box: ContainerRoot, manager: socket.socket
) -> None:
    healthy = ("--sdnotify", "healthy", *CHECKED, IMAGE)
    with started(box, "run", "-d", "--name", "late", *healthy, *FOREVER) as waiting:
        assert manager.recv(100) == main_pid(box, "late")
        assert not select.select([manager], [], [], 0)[0]
        assert waiting.poll() is None
        box.ok("exec", "late", "sh", "-c", ">/ok")
        assert manager.recv(100) == b"READY=1"
        assert waiting.wait(60) == 0
    script = ("sh", "-c", ">/ok; cat")
    with started(box, "run", "-i", "--name", "attended", *healthy, *script) as attended:
        assert manager.recv(100) == main_pid(box, "attended")
        assert manager.recv(100) == b"READY=1"
        assert attended.stdin
        attended.stdin.close()
        assert attended.wait(60) == 0
    done = box.call("run", "-d", "--rm", *healthy, "true")
    assert done.returncode == 0
    assert "ended before it was healthy: READY=1 is not sent" in done.stderr
    assert manager.recv(100).startswith(b"MAINPID=")
    error = box.fails("create", "--sdnotify", "healthy", IMAGE, *FOREVER)
    assert 'sdnotify policy "healthy" requires a healthcheck to be set' in error


def test_a_manager_that_does_not_listen_is_a_warning(
    box: ContainerRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    done = box.call("run", "--rm", "--sdnotify", "conmon", IMAGE, "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"{tmp_path}/nobody (NOTIFY_SOCKET): No such file or directory" in done.stderr
