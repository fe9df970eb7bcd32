"""The process that is forked before config.json has been validated leaves and hides nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root")


def children_of(pid: int) -> list[int]:
    """The processes that ``pid`` has forked."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def sockets_of(pid: int) -> list[str]:
    """What the process has open, of sockets."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return [link for link in links if link.startswith("socket:")]


def namespace(bundle: Bundle, name: str) -> dict[str, str]:
    """The entry of one namespace."""
    found: dict[str, str] = next(one for one in bundle.linux["namespaces"] if one["type"] == name)
    return found


def test_what_is_not_valid_is_said_by_validation_and_not_by_the_stage(
    pyrun: Runtime, bundle: Bundle
) -> None:
    bundle.config["root"] = {"path": 5}
    bundle.config["process"]["args"] = "true"
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert "/process/args: must be an array" in done.stderr
    assert "/root/path: must be a string" in done.stderr
    assert "a fault of pyrun" not in done.stderr
    assert pyrun.call("list", "-q").stdout == ""


def test_what_only_the_stage_notices_leaves_no_container(pyrun: Runtime, bundle: Bundle) -> None:
    namespace(bundle, "network")["path"] = "/proc/self/nosuch"
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert "/path: open /proc/self/nosuch: No such file" in done.stderr
    assert pyrun.call("list", "-q").stdout == ""


def test_a_fifo_in_the_place_of_a_namespace_does_not_hang(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    namespace(bundle, "network")["path"] = str(tmp_path / "fifo")
    assert "fifo is no network namespace" in pyrun.run(bundle).stderr


def test_a_descriptor_of_ours_is_not_taken_for_the_callers(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("ls /proc/self/fd")
    done = pyrun.run(bundle, "--preserve-fds", "20")
    # 3 is the directory that ls itself reads
    assert done.stdout.split() == ["0", "1", "2", "3"], done.stderr


def test_more_warnings_than_a_packet_holds_are_shortened(pyrun: Runtime, bundle: Bundle) -> None:
    words = [f"CAP_UNKNOWN_{number}" for number in range(5000)]
    bundle.process["capabilities"] = {"bounding": words}
    done = pyrun.run(bundle)
    assert done.returncode == 0
    assert "CAP_UNKNOWN_" in done.stderr
    assert "more" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("killed", ["parent", "stage"])
def test_killing_either_leaves_nothing(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, killed: str
) -> None:
    """The stage stands still at a console socket whose queue is full."""
    path = str(tmp_path / "console")
    listening, first = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(0)
    first.connect(path)
    bundle.process["terminal"] = True
    bundle.save()
    name = pyrun.new_id()
    words = ["create", "--console-socket", path, "--bundle", str(bundle.path), name]
    with listening, first:
        parent = subprocess.Popen(pyrun.command(*words), stderr=subprocess.PIPE, text=True)
        (stage,) = wait_for(lambda: children_of(parent.pid), "the stage")
        wait_for(lambda: len(sockets_of(stage)) == 2, "a second one, besides that to its parent")
        os.kill(parent.pid if killed == "parent" else stage, signal.SIGKILL)
        parent.wait(timeout=60)
    wait_for(lambda: not Path(f"/proc/{stage}").exists(), "the end of the stage, which may go on")
    complaint = parent.communicate()[1]
    assert ("its process was killed" in complaint) == (killed == "stage")
    pyrun.call("delete", "--force", name)
    assert pyrun.call("list", "-q").stdout == ""


def test_run_makes_no_exec_fifo_and_start_has_nothing_to_start(
    pyrun: Runtime, bundle: Bundle
) -> None:
    bundle.process["args"] = ["sleep", "1000"]
    bundle.save()
    name = pyrun.new_id()
    words = pyrun.command("run", "--detach", "-b", str(bundle.path), name)
    # not its output: the container has those pipes, too
    subprocess.run(words, check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert pyrun.state(name)["status"] == "running"
    assert not (pyrun.root / name / "exec.fifo").exists()
    assert "status is running, must be created" in pyrun.call("start", name).stderr


@pytest.mark.parametrize("hooks", [False, True])
def test_a_program_that_the_kernel_refuses_leaves_nothing_of_run(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, *, hooks: bool
) -> None:
    """With hooks the container is created and started, as by two commands."""
    program = bundle.rootfs / "program"
    program.write_text("#!/no/interpreter\\n")
    program.chmod(0o755)
    bundle.process["args"] = ["/program"]
    if hooks:
        bundle.hook("poststop", tmp_path / "hook", "true")
    done = pyrun.run(bundle)
    assert done.returncode == 127
    assert "/program" in done.stderr
    assert "no such file or directory" in done.stderr
    assert pyrun.call("list", "-q").stdout == ""
