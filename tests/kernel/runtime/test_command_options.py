"""Options of create, run and exec that reach beyond the container: sockets, orphans, cgroups."""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        made.listen(1)
        made.settimeout(60)
        yield made


def received(listener: socket.socket) -> tuple[bytes, int]:
    """The word and the descriptor that arrive."""
    peer, _ = listener.accept()
    with peer:
        word, ancillary, _, _ = peer.recvmsg(4096, socket.CMSG_LEN(4))
    return word, int(array.array("i", ancillary[0][2])[0])


def pid_of(pid_fd: int) -> int:
    (line,) = [
        line
        for line in Path(f"/proc/self/fdinfo/{pid_fd}").read_text().splitlines()
        if line.startswith("Pid:")
    ]
    return int(line.split()[1])


@pytest.mark.parametrize("user_namespace", [False, True])
def test_the_pidfd_of_init_is_sent(
    pyrun: Runtime, bundle: Bundle, listener: socket.socket, user_namespace: bool
) -> None:
    bundle.shell("sleep 1000")
    if user_namespace:
        bundle.linux["namespaces"].append({"type": "user"})
        for name in ("uidMappings", "gidMappings"):
            bundle.linux[name] = [{"containerID": 0, "hostID": 0, "size": 1000}]
    name = pyrun.create(bundle, "--pidfd-socket", listener.getsockname())
    word, pid_fd = received(listener)
    try:
        assert (word, pid_of(pid_fd)) == (b"standard", pyrun.state(name)["pid"])
        signal.pidfd_send_signal(pid_fd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pid_fd, select.POLLIN)
        assert poll.poll(30_000)
    finally:
        os.close(pid_fd)


def test_the_pidfd_of_an_entered_process_is_sent(
    pyrun: Runtime, bundle: Bundle, listener: socket.socket
) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    words = ["--detach", "--pidfd-socket", listener.getsockname()]
    subprocess.run(
        pyrun.command("exec", *words, name, "sleep", "500"), check=True, stdout=subprocess.DEVNULL
    )
    word, pid_fd = received(listener)
    try:
        pids = json.loads(pyrun.call("ps", "-f", "json", name).stdout)
        assert (word, pid_of(pid_fd) in pids) == (b"setns", True)
    finally:
        os.close(pid_fd)


def test_a_pidfd_socket_where_nobody_listens_leaves_nothing(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    done = pyrun.run(bundle, "--pidfd-socket", str(tmp_path / "nobody"))
    assert (done.returncode, "send the pidfd to the socket" in done.stderr) == (1, True)
    assert pyrun.left(pyrun.ids[-1]) == []


@pytest.mark.parametrize("options", [[], ["--no-subreaper"]])
def test_run_adopts_orphans_unless_told_otherwise(
    pyrun: Runtime, bundle: Bundle, options: list[str]
) -> None:
    namespaces = bundle.linux["namespaces"]
    bundle.linux["namespaces"] = [entry for entry in namespaces if entry["type"] != "pid"]
    bundle.config["root"]["readonly"] = False
    # the inner shell ends before its child, whose number the outer one tells then
    bundle.shell("sh -c 'sleep 1000 & echo $! >/tmp/pid'; mv /tmp/pid /tmp/orphan; sleep 1000")
    bundle.save()
    name = pyrun.new_id()
    told = bundle.rootfs / "tmp/orphan"
    with subprocess.Popen(pyrun.command("run", *options, "-b", str(bundle.path), name)) as run:
        wait_for(told.exists, "the orphan's number")
        parent = Path(f"/proc/{told.read_text().strip()}/stat").read_text().split()[3]
        assert (int(parent) == run.pid) == (options == [])
        assert pyrun.call("kill", "--all", name, "KILL").returncode == 0
        assert run.wait(timeout=60) == 128 + signal.SIGKILL


@pytest.mark.needs("cgroup_pids", "cgroup_freezer")
def test_exec_enters_a_cgroup_of_one_controller(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    paths = json.loads((pyrun.root / name / "state.json").read_text())["cgroup"]["paths"]
    for controller in ("pids", "freezer"):
        os.mkdir(f"{paths[controller]}/below")
    script = "grep -E ':(pids|freezer|memory):' /proc/self/cgroup"
    words = ["--cgroup", "pids,freezer:below"]
    lines = pyrun.call("exec", *words, name, "sh", "-c", script).stdout.splitlines()
    ends = {line.split(":")[1]: line.endswith("/below") for line in lines}
    assert ends == {"pids": True, "freezer": True, "memory": False}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--cgroup", "nosuch:x"], "no v1 cgroup of this controller"),
        (["--cgroup", "x", "--cgroup", "y"], "cannot stand beside another"),
        (["--cgroup", "pids:x", "--cgroup", "pids:y"], "twice for the controller pids"),
        (["--cgroup", "../x"], "not below the container's"),
        (["--cgroup", "nosuch"], "No such file or directory"),
    ],
)
def test_a_cgroup_that_cannot_be_entered_is_refused(
    pyrun: Runtime, bundle: Bundle, words: list[str], problem: str
) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    done = pyrun.call("exec", *words, name, "true")
    assert (done.returncode, problem in done.stderr) == (255, True), done.stderr


def test_without_a_cgroup_manager_the_container_stays_in_the_callers_cgroup(
    pyrun_path: str, tmp_path: Path, bundle: Bundle
) -> None:
    bundle.config["mounts"] = [
        entry for entry in bundle.config["mounts"] if entry["type"] != "cgroup"
    ]
    bundle.shell("sleep 1000")
    with Runtime(pyrun_path, tmp_path / "state", "--cgroup-manager", "disabled") as pyrun:
        name = pyrun.start(bundle)
        own = Path("/proc/self/cgroup").read_text()
        assert Path(f"/proc/{pyrun.state(name)['pid']}/cgroup").read_text() == own
        assert pyrun.call("exec", name, "echo", "in").stdout == "in\n"
        done = pyrun.call("ps", "--format", "json", name)
        assert pyrun.state(name)["pid"] in json.loads(done.stdout)
        assert json.loads(pyrun.call("events", "--stats", name).stdout)["data"]["pids"] == {}
        for words in (["pause", name], ["update", "--pids-limit", "5", name]):
            refused = pyrun.call(*words)
            assert (refused.returncode, "needs a cgroup" in refused.stderr) == (1, True)
        assert pyrun.call("delete", "--force", name).returncode == 0
        assert pyrun.left(name) == []


def test_without_a_cgroup_manager_no_limit_is_dropped_silently(
    pyrun_path: str, tmp_path: Path, bundle: Bundle
) -> None:
    with Runtime(pyrun_path, tmp_path / "state", "--cgroup-manager", "disabled") as pyrun:
        done = pyrun.run(bundle)
        assert (done.returncode, "without a cgroup no rule holds" in done.stderr) == (0, True)
        bundle.linux["resources"]["pids"] = {"limit": 5}
        done = pyrun.run(bundle)
        assert (done.returncode, "/linux/resources/pids: needs a cgroup" in done.stderr) == (
            1,
            True,
        )
