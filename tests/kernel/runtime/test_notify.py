"""NOTIFY_SOCKET: a container says when it is ready, and systemd hears it."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")

SAY = """
import os, socket
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.sendto(b"STATUS=nearly", os.environ["NOTIFY_SOCKET"])
sender.sendto(b"STATUS=there\\nREADY=1", os.environ["NOTIFY_SOCKET"])
print(os.environ["NOTIFY_SOCKET"], flush=True)
"""


class Manager:
    """What listens in the place of systemd."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60)

    def hear(self) -> list[str]:
        """The lines of one message; descriptors in it are closed, which is the answer to them."""
        text, rights, _, _ = self.socket.recvmsg(4096, 64)
        for _level, _kind, data in rights:
            for fd in array.array("i", data):
                os.close(fd)
        return text.decode().split("\n")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A service manager that the caller's NOTIFY_SOCKET leads to."""
    made = Manager(tmp_path / "manager")
    monkeypatch.setenv("NOTIFY_SOCKET", str(made.path))
    yield made
    made.socket.close()


@pytest.fixture
def saying(bundle: Bundle) -> Bundle:
    """A container of an ordinary user that can speak."""
    bundle.host_python()
    bundle.process["user"] = {"uid": 7, "gid": 7}
    bundle.config["root"]["readonly"] = False
    bundle.process["args"] = ["/usr/bin/python3", "-I", "-S", "-c", SAY]
    return bundle


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_run_tells_that_its_container_is_ready(
    pyrun: Runtime, saying: Bundle, manager: Manager, terminal: bool
) -> None:
    saying.process["terminal"] = terminal
    assert pyrun.output(saying) == f"{manager.path}/notify"
    assert manager.hear() == ["READY=1"]
    assert pyrun.left(pyrun.ids[-1]) == []


@pytest.mark.parametrize("user", [False, True], ids=["root", "user namespace"])
def test_start_waits_until_its_container_is_ready(
    pyrun: Runtime, saying: Bundle, manager: Manager, user: bool
) -> None:
    if user:
        saying.linux["namespaces"].append({"type": "user"})
        for kind in ("uidMappings", "gidMappings"):
            saying.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 1000}]
    saying.process["args"][-1] = f"{SAY}\nimport time; time.sleep(1000)"
    name = pyrun.create(saying)
    assert pyrun.call("start", name).returncode == 0
    assert manager.hear() == ["READY=1", f"MAINPID={pyrun.state(name)['pid']}"]
    assert manager.hear() == ["BARRIER=1"]
    assert pyrun.call("delete", "--force", name).returncode == 0
    assert pyrun.left(name) == []


def test_a_container_that_ends_is_not_waited_for(
    pyrun: Runtime, bundle: Bundle, manager: Manager
) -> None:
    bundle.config["root"]["readonly"] = False
    done = pyrun.run(bundle, "--detach")
    assert (done.returncode, done.stderr) == (0, "")
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.hear()


def test_a_manager_that_is_gone_is_told_as_a_warning(
    pyrun: Runtime, saying: Bundle, manager: Manager
) -> None:
    manager.path.unlink()
    done = pyrun.run(saying)
    assert done.returncode == 0
    assert f"notify {manager.path} (NOTIFY_SOCKET): No such file or directory" in done.stderr
