"""Hooks of all six kinds: where they run, what they read, and what their failure does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")

ON_THE_HOST = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]


def test_hooks_run_in_order_and_read_the_state(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    for kind in ON_THE_HOST:
        script = f"echo {kind} >>{tmp_path}/order; cat >{tmp_path}/{kind}.json"
        bundle.hook(kind, tmp_path / f"{kind}.sh", script)
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "hook").write_text("#!/bin/sh\ncat >/startContainer.json\n")
    (bundle.rootfs / "hook").chmod(0o755)
    bundle.config["hooks"]["startContainer"] = [{"path": "/hook"}]
    bundle.config["annotations"] = {"a": "b"}
    name = pyrun.create(bundle)
    pid = pyrun.state(name)["pid"]
    assert (tmp_path / "order").read_text().split() == ON_THE_HOST[:3]
    assert pyrun.call("start", name).returncode == 0
    pyrun.wait_until_stopped(name)
    assert pyrun.call("delete", name).returncode == 0
    assert (tmp_path / "order").read_text().split() == ON_THE_HOST
    expected = {
        "prestart": ("created", pid), "createRuntime": ("creating", pid),
        "createContainer": ("creating", 1), "poststart": ("running", pid),
        "poststop": ("stopped", 0),
    }  # fmt: skip
    for kind, (status, its_pid) in expected.items():
        state = json.loads((tmp_path / f"{kind}.json").read_text())
        assert (kind, state["status"], state["pid"]) == (kind, status, its_pid)
        assert (state["id"], state["bundle"]) == (name, str(bundle.path))
        assert state["annotations"] == {"a": "b"}
        assert state["ociVersion"] == bundle.config["ociVersion"]
    inside = json.loads((bundle.rootfs / "startContainer.json").read_text())
    assert (inside["status"], inside["pid"]) == ("created", 1)


def test_arguments_and_environment_of_a_hook(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    script = f'echo "$0 $* $A" >{tmp_path}/out; env | grep -c HOME= >>{tmp_path}/out; true'
    bundle.hook(
        "createRuntime", tmp_path / "hook", script, args=["zero", "one", "two"], env=["A=b"]
    )
    pyrun.output(bundle)
    assert (tmp_path / "out").read_text().split("\n")[:2] == [f"{tmp_path}/hook one two b", "0"]


def test_a_hook_without_an_environment_has_that_of_the_caller_and_begins_in_the_bundle(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """What runc and crun do; programs for hooks look for others in $PATH."""
    for kind in ON_THE_HOST:
        bundle.hook(
            kind, tmp_path / f"{kind}.sh", f'echo "$GIVEN $OF_PROCESS $PWD" >{tmp_path}/{kind}'
        )
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "hook").write_text('#!/bin/sh\necho "$GIVEN $OF_PROCESS $HOME $PWD" >/out\n')
    (bundle.rootfs / "hook").chmod(0o755)
    bundle.config["hooks"]["startContainer"] = [{"path": "/hook"}]
    bundle.process["env"] = ["PATH=/bin", "OF_PROCESS=yes"]
    bundle.process["cwd"] = "/tmp"
    done = pyrun.run(bundle, env={"PATH": os.environ["PATH"], "GIVEN": "given"}, cwd="/")
    assert done.returncode == 0, done.stderr
    for kind in ON_THE_HOST:
        place = bundle.rootfs if kind == "createContainer" else bundle.path
        assert (kind, (tmp_path / kind).read_text()) == (kind, f"given  {place}\n")
    assert (bundle.rootfs / "out").read_text() == " yes /root /tmp\n"


def test_a_hook_with_an_empty_environment_has_none(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.hook("createRuntime", tmp_path / "hook", f'echo "$GIVEN." >{tmp_path}/out', env=[])
    pyrun.run(bundle, env={"PATH": os.environ["PATH"], "GIVEN": "given"})
    assert (tmp_path / "out").read_text() == ".\n"


def test_poststop_does_not_need_the_bundle(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.hook("poststop", tmp_path / "hook", f"pwd >{tmp_path}/out")
    name = pyrun.create(bundle)
    os.rename(bundle.path, f"{bundle.path}.away")
    try:
        assert pyrun.call("delete", "--force", name).returncode == 0
    finally:
        os.rename(f"{bundle.path}.away", bundle.path)
    assert (tmp_path / "out").read_text() == "/\n"


def add_poststop_hooks(bundle: Bundle, tmp_path: Path) -> None:
    """One that fails, and one that tells of the state it read."""
    bundle.hook("poststop", tmp_path / "wrong", "exit 9")
    bundle.hook("poststop", tmp_path / "last", f"cat >{tmp_path}/poststop")


def assert_poststop_hooks_ran(tmp_path: Path, said: str) -> None:
    assert "level=warning" in said
    assert "hook poststop/0" in said
    state = json.loads((tmp_path / "poststop").read_text())
    assert (state["status"], state["pid"]) == ("stopped", 0)


def test_what_fails_before_there_is_a_process_runs_no_poststop_hook(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    add_poststop_hooks(bundle, tmp_path)
    bundle.config["linux"]["resources"] = {"unified": {"no.such": "1"}}
    assert pyrun.run(bundle).returncode == 1
    assert not (tmp_path / "poststop").exists()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_ends_create(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, kind: str
) -> None:
    bundle.hook(kind, tmp_path / "hook", "echo because >&2; exit 3")
    add_poststop_hooks(bundle, tmp_path)
    bundle.save()
    name = pyrun.new_id()
    done = pyrun.call("create", "-b", str(bundle.path), name)
    assert done.returncode == 1
    assert f"hook {kind}/0 {tmp_path}/hook: exit status 3: because" in done.stderr
    assert pyrun.left(name) == []
    assert_poststop_hooks_ran(tmp_path, done.stderr)


def test_a_hook_that_takes_too_long_is_killed(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.hook("createRuntime", tmp_path / "hook", "exec sleep 1000", timeout=1)
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert "took longer than its timeout of 1 s" in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []


def test_a_start_container_hook_that_fails_is_reported_by_start_and_ends_the_container(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    add_poststop_hooks(bundle, tmp_path)
    (bundle.rootfs / "hook").write_text("#!/bin/sh\nexit 4\n")
    (bundle.rootfs / "hook").chmod(0o755)
    bundle.config["hooks"]["startContainer"] = [{"path": "/hook"}]
    name = pyrun.create(bundle)
    done = pyrun.call("start", name)
    assert (done.returncode, "startContainer/0 /hook: exit status 4" in done.stderr) == (1, True)
    assert pyrun.left(name) == []
    assert_poststop_hooks_ran(tmp_path, done.stderr)
    assert pyrun.call("delete", "--force", name).returncode == 0


def test_a_poststart_hook_that_fails_ends_the_container(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    add_poststop_hooks(bundle, tmp_path)
    bundle.shell("sleep 1000")
    bundle.hook("poststart", tmp_path / "hook", "exit 5")
    name = pyrun.create(bundle)
    done = pyrun.call("start", name)
    assert (done.returncode, "hook poststart/0" in done.stderr) == (1, True)
    assert pyrun.left(name) == []
    assert_poststop_hooks_ran(tmp_path, done.stderr)


def test_a_program_that_cannot_be_run_leaves_the_poststop_hooks_to_run(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    add_poststop_hooks(bundle, tmp_path)
    bundle.config["process"]["args"] = ["/no/such/program"]
    done = pyrun.run(bundle)
    assert done.returncode != 0
    assert pyrun.left(pyrun.ids[-1]) == []
    assert_poststop_hooks_ran(tmp_path, done.stderr)


def test_a_poststop_hook_that_fails_is_a_warning_and_the_next_one_runs(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.hook("poststop", tmp_path / "one", "exit 6")
    bundle.hook("poststop", tmp_path / "two", f"touch {tmp_path}/ran")
    done = pyrun.run(bundle)
    assert done.returncode == 0
    assert "level=warning" in done.stderr
    assert "hook poststop/0" in done.stderr
    assert (tmp_path / "ran").exists()
    assert pyrun.left(pyrun.ids[-1]) == []


HANG = "echo >{path}; exec sleep 1000"  # opening the fifo is the news that the hook runs


def hanging(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, kind: str
) -> tuple[str, Callable[[], subprocess.Popen[str]]]:
    """A container with a hook that never ends; the call runs the command up to the hook."""
    fifo = (bundle.rootfs if kind == "startContainer" else tmp_path) / "runs"
    os.mkfifo(fifo)
    if kind == "startContainer":
        (bundle.rootfs / "hook").write_text(f"#!/bin/sh\n{HANG.format(path='/runs')}\n")
        (bundle.rootfs / "hook").chmod(0o755)
        bundle.config["hooks"] = {kind: [{"path": "/hook"}]}
    else:
        bundle.hook(kind, tmp_path / "hook", HANG.format(path=fifo))
    bundle.shell("sleep 1000")
    in_start = kind in ("startContainer", "poststart")
    name = runtime.create(bundle) if in_start else runtime.new_id()
    bundle.save()
    words = ["start", name] if in_start else ["create", "-b", str(bundle.path), name]

    def reach() -> subprocess.Popen[str]:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            runtime.command(*words), stdin=quiet, stdout=quiet, stderr=subprocess.PIPE, text=True
        )
        fifo.read_text()
        return process

    return name, reach


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "running"),
        ("poststart", "running"),
    ],
)
def test_a_hook_that_hangs_holds_up_no_other_command(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, kind: str, status: str
) -> None:
    name, reach = hanging(pyrun, bundle, tmp_path, kind)
    process = reach()
    try:
        assert pyrun.state(name)["status"] == status
        refused = pyrun.call("delete", name, timeout=60)
        assert (refused.returncode, f"status is {status}" in refused.stderr) == (1, True)
        assert pyrun.call("delete", "--force", name, timeout=60).returncode == 0
        assert pyrun.left(name) == []
    finally:
        if kind == "poststart":  # the container may end before the hook does: that is no error
            subprocess.run(["pkill", "-KILL", "-P", str(process.pid)], check=False)
        said = process.communicate(timeout=60)[1]
    if status == "creating":
        assert process.returncode == 1
        assert "killed" in said


def test_kill_reaches_a_container_whose_start_hook_hangs(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    name, reach = hanging(pyrun, bundle, tmp_path, "startContainer")
    process = reach()
    try:
        assert pyrun.call("kill", name, "KILL", timeout=60).returncode == 0
    finally:
        process.communicate(timeout=60)
    assert pyrun.state(name)["status"] == "stopped"
