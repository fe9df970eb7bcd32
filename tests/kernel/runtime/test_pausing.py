"""pause and resume, and what the other commands do with a paused container."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import InLayout, Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")
# It counts in a file of the root file system, so the host sees whether it goes on.
COUNTING = "while :; do echo x >>/tmp/count; sleep 0.02; done"


def counting(pyrun: Runtime, bundle: Bundle) -> str:
    bundle.config["root"]["readonly"] = False
    bundle.shell(COUNTING)
    name = pyrun.start(bundle)
    wait_for_more(bundle.rootfs / "tmp/count", 0)
    return name


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for_more(path: Path, than: int) -> None:
    """Return when the file has grown."""
    wait_for(lambda: size(path) > than, f"{path} to grow")


def test_a_paused_container_stands_still_until_it_is_resumed(
    runtime: InLayout, bundle: Bundle
) -> None:
    name = counting(runtime, bundle)
    assert runtime.call("pause", name).returncode == 0
    state = runtime.state(name)
    assert (state["status"], state["pid"] > 0) == ("paused", True)
    before = size(bundle.rootfs / "tmp/count")
    subprocess.run(["sleep", "0.1"], check=True)  # it writes each 0.02 s when it runs
    assert size(bundle.rootfs / "tmp/count") == before
    assert "paused" in runtime.call("list").stdout
    assert runtime.call("resume", name).returncode == 0
    assert runtime.state(name)["status"] == "running"
    wait_for_more(bundle.rootfs / "tmp/count", before)


def test_delete_force_removes_a_paused_container(runtime: InLayout, bundle: Bundle) -> None:
    name = counting(runtime, bundle)
    assert runtime.call("pause", name).returncode == 0
    refused = runtime.call("delete", name)
    assert (refused.returncode, "status is paused" in refused.stderr) == (1, True)
    assert runtime.call("delete", "--force", name).returncode == 0
    assert runtime.left(name) == []


def test_a_paused_container_dies_of_kill(runtime: InLayout, bundle: Bundle) -> None:
    name = counting(runtime, bundle)
    assert runtime.call("pause", name).returncode == 0
    assert runtime.call("kill", name, "KILL").returncode == 0
    runtime.wait_until_stopped(name)
    assert runtime.state(name)["status"] == "stopped"
    assert runtime.call("delete", name).returncode == 0
    assert runtime.left(name) == []


def test_another_signal_waits_until_the_container_is_resumed(
    pyrun: Runtime, bundle: Bundle
) -> None:
    bundle.shell("trap 'exit 0' TERM; while :; do sleep 0.02; done")
    name = pyrun.start(bundle)
    assert pyrun.call("pause", name).returncode == 0
    assert pyrun.call("kill", name, "TERM").returncode == 0
    assert pyrun.state(name)["status"] == "paused"
    assert pyrun.call("resume", name).returncode == 0
    pyrun.wait_until_stopped(name)


def test_a_paused_container_is_entered_only_on_request(runtime: InLayout, bundle: Bundle) -> None:
    name = counting(runtime, bundle)
    assert runtime.call("pause", name).returncode == 0
    refused = runtime.call("exec", name, "true")
    assert (refused.returncode, "paused" in refused.stderr) == (255, True)
    words = runtime.command("exec", "--ignore-paused", name, "echo", "in")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as waiting:
        assert runtime.call("resume", name).returncode == 0
        assert waiting.communicate(timeout=60)[0] == "in\n"
    assert waiting.returncode == 0


def test_a_created_container_is_started_only_after_it_is_resumed(
    pyrun: Runtime, bundle: Bundle
) -> None:
    name = pyrun.create(bundle)
    assert pyrun.call("pause", name).returncode == 0
    refused = pyrun.call("start", name)
    assert (refused.returncode, "status is paused" in refused.stderr) == (1, True)
    assert pyrun.call("resume", name).returncode == 0
    assert pyrun.state(name)["status"] == "created"
    assert pyrun.call("start", name).returncode == 0


def test_pause_and_resume_need_the_right_status(pyrun: Runtime, bundle: Bundle) -> None:
    name = counting(pyrun, bundle)
    refused = pyrun.call("resume", name)
    assert (refused.returncode, "must be paused" in refused.stderr) == (1, True)
    assert pyrun.call("pause", name).returncode == 0
    refused = pyrun.call("pause", name)
    assert (refused.returncode, "status is paused" in refused.stderr) == (1, True)
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    for command in ("pause", "resume"):
        refused = pyrun.call(command, name)
        assert (refused.returncode, "status is stopped" in refused.stderr) == (1, True)
    assert "does not exist" in pyrun.call("pause", "nosuch").stderr


@pytest.mark.needs("systemd")
def test_a_scope_of_systemd_is_paused(pyrun_path: str, tmp_path: Path, bundle: Bundle) -> None:
    with Runtime(pyrun_path, tmp_path / "state", "--cgroup-manager", "systemd") as pyrun:
        name = counting(pyrun, bundle)
        assert pyrun.call("pause", name).returncode == 0
        assert pyrun.state(name)["status"] == "paused"
        assert pyrun.call("resume", name).returncode == 0
        assert pyrun.state(name)["status"] == "running"
