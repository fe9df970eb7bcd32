"""SCMP_ACT_NOTIFY: the notify descriptor reaches who listens, which then answers the calls."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
CONTINUE = 1
MKDIR = ["mkdir", "mkdirat"]


class Agent:
    """Receives listeners and answers every call: with ``error`` if it is mkdir, else go on.

    Attributes:
        path: of its socket.
        messages: what came with the listeners.
        asked: the process of each call, as the host knows it.
    """

    def __init__(self, path: Path, error: int = errno.EXDEV) -> None:
        self.path = path
        self.messages: list[dict[str, Any]] = []
        self.asked: list[int] = []
        self._error = error
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(60)

    def listen(self, times: int = 1) -> None:
        threading.Thread(target=self._receive, args=[times], daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _receive(self, times: int) -> None:
        for _ in range(times):
            peer, _ = self._socket.accept()
            with peer:
                data, fds, _, _ = socket.recv_fds(peer, 65536, 4)
                while more := peer.recv(65536):
                    data += more
            self.messages.append(json.loads(data))
            assert len(fds) == len(self.messages[-1]["fds"]) == 1
            threading.Thread(target=self._answer, args=[fds[0]], daemon=True).start()

    def _answer(self, listener_fd: int) -> None:
        """Until nobody is left who could ask."""
        poll = select.poll()
        poll.register(listener_fd, select.POLLIN)
        try:
            while not any(event & select.POLLHUP for _, event in poll.poll()):
                request = bytearray(80)
                try:
                    fcntl.ioctl(listener_fd, NOTIF_RECV, request)
                    number, pid, _, call = struct.unpack_from("=QIIi", request)
                    self.asked.append(pid)
                    refuse = call in (83, 258) and self._error
                    reply = (number, 0, -self._error, 0) if refuse else (number, 0, 0, CONTINUE)
                    fcntl.ioctl(listener_fd, NOTIF_SEND, bytearray(struct.pack("=QqiI", *reply)))
                except FileNotFoundError:
                    continue  # the process died, or a signal came, before the answer
        finally:
            os.close(listener_fd)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "agent")
    yield made
    made.close()


def notify(bundle: Bundle, path: Path, names: list[str] | None = None) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "listenerMetadata": "some words",
        "syscalls": [{"names": names or MKDIR, "action": "SCMP_ACT_NOTIFY"}],
    }


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_listener_comes_with_the_state_and_decides(
    pyrun: Runtime, bundle: Bundle, agent: Agent, no_new_privileges: bool
) -> None:
    notify(bundle, agent.path)
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.config["annotations"] = {"a": "b"}
    bundle.shell("mkdir /dev/shm/x 2>&1; echo $?; exec sleep 1000")
    agent.listen()
    name = pyrun.create(bundle, stdout=subprocess.DEVNULL)
    pid = pyrun.state(name)["pid"]
    (message,) = agent.messages
    version = bundle.config["ociVersion"]
    assert message == {
        "ociVersion": version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "some words",
        "state": {
            "ociVersion": version, "id": name, "status": "creating", "pid": pid,
            "bundle": str(bundle.path), "annotations": {"a": "b"},
        },
    }  # fmt: skip
    assert pyrun.call("start", name).returncode == 0
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)


def test_the_answer_is_what_the_program_sees(pyrun: Runtime, bundle: Bundle, agent: Agent) -> None:
    notify(bundle, agent.path)
    bundle.shell("mkdir /dev/shm/x 2>&1; echo done")
    agent.listen()
    assert pyrun.output(bundle).splitlines() == [
        "mkdir: can't create directory '/dev/shm/x': Invalid cross-device link",
        "done",
    ]


def test_exec_sends_a_listener_of_its_own(pyrun: Runtime, bundle: Bundle, agent: Agent) -> None:
    notify(bundle, agent.path)
    bundle.shell("sleep 1000")
    agent.listen(times=2)
    name = pyrun.start(bundle)
    pid = pyrun.state(name)["pid"]
    done = pyrun.call("exec", name, "mkdir", "/dev/shm/x")
    assert (done.returncode, "Invalid cross-device link" in done.stderr) == (1, True)
    first, second = agent.messages
    assert (first["pid"], first["state"]["status"]) == (pid, "creating")
    assert second["pid"] != pid
    assert second["pid"] in agent.asked
    assert (second["state"]["pid"], second["state"]["status"]) == (pid, "running")


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_calls_that_send_the_listener_may_be_notified_themselves(
    pyrun: Runtime, bundle: Bundle, agent: Agent, no_new_privileges: bool
) -> None:
    """The process never has to send it under the filter, so nothing can wait for itself."""
    calls = ["sendmsg", "sendto", "write", "close", "wait4", "clone3", "execve", "read"]
    notify(bundle, agent.path, calls)
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.shell("echo fine")
    agent.listen()
    assert pyrun.output(bundle) == "fine"


def test_in_a_user_namespace_the_host_s_pid_is_sent(
    pyrun: Runtime, bundle: Bundle, agent: Agent
) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    notify(bundle, agent.path)
    bundle.shell("sleep 1000")
    agent.listen()
    name = pyrun.start(bundle)
    assert [one["pid"] for one in agent.messages] == [pyrun.state(name)["pid"]]


def test_without_a_notify_action_nobody_is_asked(pyrun: Runtime, bundle: Bundle) -> None:
    notify(bundle, Path("/no/such/socket"))
    bundle.linux["seccomp"]["syscalls"][0]["action"] = "SCMP_ACT_ERRNO"
    bundle.shell("mkdir /dev/shm/x 2>/dev/null || echo refused")
    assert pyrun.output(bundle) == "refused"


@pytest.mark.parametrize("exists", [False, True], ids=["no socket", "nobody listens"])
def test_a_listener_that_is_not_there_is_named(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, exists: bool
) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as closed:
        if exists:
            closed.bind(str(path))
        notify(bundle, path)
        done = pyrun.run(bundle)
    assert done.returncode == 1
    assert f"connect to the seccomp listener {path}: " in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []
