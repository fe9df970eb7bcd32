"""create, start, state, kill, delete and run on the real kernel."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


def test_run_gives_output_and_exit_status(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("echo out; echo err >&2; exit 7")
    done = pyrun.run(bundle)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert pyrun.left(pyrun.ids[-1]) == []


def test_run_gives_128_and_the_signal(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"
    ]
    bundle.shell("kill -TERM $$")
    assert pyrun.run(bundle).returncode == 128 + signal.SIGTERM


def test_a_container_goes_through_every_status(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    bundle.config["annotations"] = {"org.example.key": "value"}
    name = pyrun.create(bundle)
    created = pyrun.state(name)
    assert created["status"] == "created"
    assert created["ociVersion"] == bundle.config["ociVersion"]
    assert created["bundle"] == str(bundle.path)
    assert created["annotations"] == {"org.example.key": "value"}
    assert os.path.exists(f"/proc/{created['pid']}")
    assert pyrun.call("start", name).returncode == 0
    assert pyrun.state(name)["status"] == "running"
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    stopped = pyrun.state(name)
    assert (stopped["status"], stopped["pid"]) == ("stopped", 0)
    assert pyrun.call("delete", name).returncode == 0
    assert pyrun.left(name) == []


def test_nothing_of_the_image_runs_before_start(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.shell("echo ran >/tmp/ran")
    name = pyrun.create(bundle)
    assert not (bundle.rootfs / "tmp/ran").exists()
    assert pyrun.call("start", name).returncode == 0
    pyrun.wait_until_stopped(name)
    assert (bundle.rootfs / "tmp/ran").read_text() == "ran\n"


def test_config_is_as_it_was_at_create(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    (bundle.path / "config.json").write_text("{")
    done = pyrun.call("exec", name, "echo", "in")
    assert (done.returncode, done.stdout) == (0, "in\n")


def test_list_shows_every_container(pyrun: Runtime, bundle: Bundle) -> None:
    names = sorted([pyrun.create(bundle), pyrun.create(bundle)])
    assert pyrun.call("list", "-q").stdout.split() == names
    rows = json.loads(pyrun.call("list", "--format", "json").stdout)
    assert [(row["id"], row["status"]) for row in rows] == [(name, "created") for name in names]
    header, *lines = pyrun.call("list").stdout.splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert [line.split()[0] for line in lines] == names


def test_pid_file_has_the_pid_of_init(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    name = pyrun.create(bundle, "--pid-file", str(tmp_path / "pid"))
    assert (tmp_path / "pid").read_text() == str(pyrun.state(name)["pid"])


def test_a_killed_process_is_not_taken_for_another_with_its_pid(
    pyrun: Runtime, bundle: Bundle
) -> None:
    name = pyrun.create(bundle)
    os.kill(pyrun.state(name)["pid"], signal.SIGKILL)
    pyrun.wait_until_stopped(name)
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        path = pyrun.root / name / "state.json"
        state = json.loads(path.read_text())
        state["pid"] = stranger.pid
        path.write_text(json.dumps(state))
        assert pyrun.state(name)["status"] == "stopped"
        assert pyrun.call("kill", name, "KILL").returncode == 1
        assert pyrun.call("delete", "--force", name).returncode == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_run_forwards_signals(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
    bundle.save()
    command = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(60) == 9


def test_kill_all_reaches_every_process(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"
    ]
    bundle.shell("sleep 1000 & sleep 1000")
    name = pyrun.start(bundle)
    assert pyrun.call("kill", "--all", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    assert pyrun.call("delete", name).returncode == 0
    assert pyrun.left(name) == []


@pytest.mark.parametrize("init_ended", [False, True])
def test_sigkill_ends_every_process_that_outlives_init(
    pyrun: Runtime, bundle: Bundle, init_ended: bool
) -> None:
    """As runc: the others would stay without a pid namespace that ends with init."""
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"
    ]
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    quiet = ["sh", "-c", "exec sleep 1000 >/dev/null 2>&1"]
    done = pyrun.call("exec", "-d", "--pid-file", f"{bundle.path}/pid", name, *quiet)
    assert done.returncode == 0
    other_fd = os.pidfd_open(int((bundle.path / "pid").read_text()))
    if init_ended:
        os.kill(pyrun.state(name)["pid"], signal.SIGKILL)
        pyrun.wait_until_stopped(name)
    assert pyrun.call("kill", name, "KILL").returncode == 0
    assert select.select([other_fd], [], [], 60)[0], "the other process outlived kill KILL"
    os.close(other_fd)
    pyrun.wait_until_stopped(name)
    done = pyrun.call("kill", name, "KILL")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)


def test_signal_0_asks_whether_the_container_runs(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    assert pyrun.call("kill", name, "0").returncode == 0
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    done = pyrun.call("kill", name, "0")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)


@pytest.mark.parametrize("word", ["TERM", "INT", "HUP", "QUIT"])
def test_a_signal_that_ends_programs_ends_a_created_container(
    pyrun: Runtime, bundle: Bundle, word: str
) -> None:
    """The first process of a pid namespace would be spared by the kernel."""
    name = pyrun.create(bundle)
    assert pyrun.call("kill", name, word).returncode == 0
    pyrun.wait_until_stopped(name)
    assert pyrun.call("delete", name).returncode == 0


def test_the_program_finds_signals_as_create_was_started(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """``nohup`` goes through, and nothing else is ignored."""
    bundle.process["args"] = ["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"]
    bundle.save()
    name = pyrun.new_id()
    words = pyrun.command("create", "-b", str(bundle.path), name)
    script = f'trap "" HUP; exec "$@" >{tmp_path}/out 2>&1 </dev/null'
    subprocess.run(["sh", "-c", script, "sh", *words], check=True, timeout=60)
    assert pyrun.call("kill", name, "HUP").returncode == 0
    assert pyrun.call("start", name).returncode == 0
    pyrun.wait_until_stopped(name)
    found = dict(line.split(":\t") for line in (tmp_path / "out").read_text().splitlines())
    bits = {kind: int(word, 16) for kind, word in found.items()}
    assert bits == {"SigBlk": 0, "SigIgn": 1 << (signal.SIGHUP - 1)}


def test_keep_leaves_the_stopped_container(pyrun: Runtime, bundle: Bundle) -> None:
    assert pyrun.run(bundle, "--keep").returncode == 0
    assert pyrun.state(pyrun.ids[-1])["status"] == "stopped"


def test_preserved_descriptors_and_no_others_reach_the_container(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.shell("cat <&3; ls /proc/self/fd")
    (tmp_path / "given").write_text("given\n")
    with open(tmp_path / "given") as given, open(tmp_path / "given") as other:
        script = f'exec "$@" 3<&{given.fileno()} 9<&{other.fileno()}'
        bundle.save()
        words = pyrun.command("run", "--preserve-fds", "1", "-b", str(bundle.path), pyrun.new_id())
        done = subprocess.run(
            ["bash", "-c", script, "sh", *words], check=False, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, pass_fds=(given.fileno(), other.fileno()), timeout=60,
        )  # fmt: skip
    # 4 is the directory that ls itself reads
    assert done.stdout.split() == ["given", "0", "1", "2", "3", "4"], done.stderr


def test_a_created_container_does_not_hold_what_create_was_called_with(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Whoever calls create may wait for the end of a pipe or have a lock."""
    bundle.shell("cat <&3")
    (tmp_path / "given").write_text("given\n")
    read_fd, write_fd = os.pipe()
    with open(tmp_path / "given") as given:
        words = ["bash", "-c", f'exec "$@" 3<&{given.fileno()} 100>&{write_fd}', "sh"]
        name = pyrun.new_id()
        bundle.save()
        words += pyrun.command("create", "--preserve-fds", "1", "-b", str(bundle.path), name)
        with open(tmp_path / "output", "w") as output:
            subprocess.run(
                words, check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(given.fileno(), write_fd), timeout=60,
            )  # fmt: skip
    os.close(write_fd)
    assert select.select([read_fd], [], [], 60)[0], "somebody still holds the pipe"
    assert os.read(read_fd, 1) == b""
    os.close(read_fd)
    assert pyrun.call("start", name).returncode == 0
    pyrun.wait_until_stopped(name)
    assert (tmp_path / "output").read_text() == "given\n"


def test_a_container_without_a_process_can_be_created_and_not_started(
    pyrun: Runtime, bundle: Bundle
) -> None:
    del bundle.config["process"]
    name = pyrun.create(bundle)
    assert pyrun.state(name)["status"] == "created"
    assert pyrun.call("exec", name, "pwd").stdout == "/\n"
    done = pyrun.call("start", name)
    assert (done.returncode, "config.json has no process" in done.stderr) == (1, True)
    assert pyrun.state(name)["status"] == "created"  # an error changes nothing
    assert pyrun.call("delete", "--force", name).returncode == 0
    assert pyrun.left(name) == []


def test_run_without_a_process_leaves_nothing(pyrun: Runtime, bundle: Bundle) -> None:
    del bundle.config["process"]
    done = pyrun.run(bundle)
    assert (done.returncode, "config.json has no process" in done.stderr) == (1, True)
    assert pyrun.left(pyrun.ids[-1]) == []
