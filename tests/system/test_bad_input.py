"""What users and crashes do wrong to containers: the message, the exit code, nothing left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.disks import tmpfs
from support.monitors import read_link
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def box(module_root: ContainerRoot) -> Iterator[ContainerRoot]:
    """A root that must hold nothing of any container after each test."""
    yield module_root
    assert module_root.settled() == []


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nosuch"], 127, "executable file"),
        (["/bin/nosuch"], 127, "/bin/nosuch"),
        (["/etc/passwd"], 126, "/etc/passwd"),
        (["/etc"], 126, "/etc"),
    ],
)
def test_a_command_that_cannot_run_has_dockers_exit_codes(
    box: ContainerRoot, words: list[str], status: int, message: str
) -> None:
    assert message in box.fails("run", "--rm", IMAGE, *words, status=status)


def test_a_failed_run_without_rm_leaves_a_created_container(box: ContainerRoot) -> None:
    box.fails("run", "--name", "stays", IMAGE, "nosuch", status=127)
    assert "Created" in box.status("stays")
    box.ok("rm", "stays")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runtime", "/no/such/runtime"], "/no/such/runtime"),
        (["--runtime", "nosuchruntime"], "nosuchruntime"),
        (["--runtime", "/etc/passwd"], "/etc/passwd"),
        (["--conmon", "/no/such/conmon"], "/no/such/conmon"),
        (["--network", "bridge"], "bridge"),
        (["--memory", "1m"], "--memory 1m"),
        (["--memory", "lots"], "--memory lots"),
        (["--cpus", "1000"], "--cpus 1000"),
        (["--cap-add", "NOSUCH"], "CAP_NOSUCH"),
        (["--cap-add", "CHOWN", "--cap-drop", "CHOWN"], "CAP_CHOWN"),
        (["-v", "/no/such/dir:/x"], "statfs /no/such/dir"),
        (["-v", "/tmp:relative"], "relative"),
        (["-v", "/tmp:/x:bogus"], "bogus"),
        (["-v", "/tmp:/"], "/"),
        (["--tmpfs", "/x:bogus=1"], "bogus=1"),
        (["--name", "bad/name"], "bad/name"),
        (["--hostname", "bad_name!"], "bad_name!"),
        (["-w", "relative"], "relative"),
        (["--env-file", "/no/such/file"], "/no/such/file"),
        (["-e", "=x"], "=x"),
        (["--security-opt", "bogus"], "bogus"),
        (["--security-opt", "seccomp=/no/such/profile"], "/no/such/profile"),
        (["--security-opt", "seccomp=/etc/passwd"], "/etc/passwd"),
        (["--stop-signal", "BOGUS"], "BOGUS"),
        (["--cidfile", "/no/such/dir/cid"], "/no/such/dir/cid"),
        (["--pull", "sometimes"], "sometimes"),
        (["--publish", "80:80"], "--publish 80:80: only a bridged network has ports to publish"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_named(
    box: ContainerRoot, options: list[str], message: str
) -> None:
    assert message in box.call("run", "--rm", *options, IMAGE, "true").stderr
    assert box.call("run", "--rm", *options, IMAGE, "true").returncode == 125


def test_an_image_must_be_named(box: ContainerRoot) -> None:
    for command in ("run", "create"):
        error = box.fails(command, "--network", "none")
        assert error == "Error: requires at least 1 arg(s), only received 0"
    assert "at least one name or id" in box.fails("start")
    assert "provide a non-empty command" in box.fails("exec", "name")


def test_a_reader_that_leaves_does_not_end_the_container(box: ContainerRoot) -> None:
    script = "echo first; while :; do echo more; sleep 0.01; done"
    run = box.popen("run", "--name", "talks", IMAGE, "sh", "-c", script, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE)  # fmt: skip
    assert run.stdout is not None
    assert run.stderr is not None
    assert run.stdout.readline() == b"first\n"
    run.stdout.close()
    assert run.wait(60) == 141
    assert run.stderr.read() == b""
    run.stderr.close()
    assert "Up" in box.status("talks")
    box.ok("kill", "talks")
    wait_for(lambda: "Exited (137)" in box.status("talks"), "the clean-up without us")
    box.ok("rm", "talks")


def test_a_working_directory_that_does_not_exist(box: ContainerRoot) -> None:
    assert "/nosuch" in box.fails("run", "--rm", "-w", "/nosuch", IMAGE, "true", status=126)


def test_an_unknown_image_and_an_unknown_container(box: ContainerRoot) -> None:
    error = box.fails("run", "--rm", "--pull", "never", "localhost/nosuch", "true")
    assert error == "Error: localhost/nosuch: image not known"
    box.fails("run", "--rm", "--rootfs", "/no/such/root", "true")
    for command in ("start", "stop", "kill", "wait", "logs", "inspect"):
        assert '"nosuch"' in box.fails(command, "nosuch")
    assert '"nosuch"' in box.fails("exec", "nosuch", "true")
    assert '"nosuch"' in box.fails("rm", "nosuch", status=1)


def test_a_name_in_use_is_refused_and_its_owner_named(box: ContainerRoot) -> None:
    id_ = box.ok("create", "--name", "taken", IMAGE, "true").strip()
    for command in ("create", "run"):
        error = box.fails(command, "--name", "taken", IMAGE, "true")
        assert f'the container name "taken" is already in use by {id_}' in error
    box.ok("rm", "taken")


def test_operations_that_the_state_forbids(box: ContainerRoot) -> None:
    box.ok("create", "--name", "s", IMAGE, "sleep", "1000")
    assert "can only kill running containers" in box.fails("kill", "s")
    box.ok("start", "s")
    assert "already running" in box.fails("start", "-a", "s")
    assert "without force" in box.fails("rm", "s", status=2)
    assert "invalid signal: BOGUS" in box.fails("kill", "-s", "BOGUS", "s")
    box.ok("rm", "-f", "-t", "0", "s")


def test_a_full_disk_is_told_and_leaves_nothing(pyengine_path: str, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "8m") as mounted:
        root = ContainerRoot(pyengine_path, mounted)
        root.runroot = tmp_path / "runroot"
        root.load_image()
        filler = mounted / "filler"
        free = os.statvfs(mounted)
        filler.write_bytes(bytes(free.f_bavail * free.f_frsize))
        done = root.call("run", "--rm", IMAGE, "true")
        assert done.returncode == 125
        assert "Traceback" not in done.stderr
        assert "disk" in done.stderr or "No space left on device" in done.stderr
        filler.unlink()
        assert root.ok("run", "--rm", IMAGE, "echo", "works") == "works\n"
        assert root.settled() == []


# SIGKILL at random points

STEPS = 6
SEED = os.environ.get("PYENGINE_TEST_SEED", str(random.randrange(1_000_000)))


def kill_engine_at(box: ContainerRoot, delay_s: float, *arguments: str) -> None:
    run = box.popen(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        run.wait(delay_s)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()


def after_a_crash(box: ContainerRoot) -> None:
    """The next commands work, ps tells the truth, and rm leaves nothing."""
    for line in box.ok("ps", "-q", "--no-trunc").split():
        pid = box.ok("inspect", line).split('"Pid": ')[1].split(",")[0]
        assert os.path.exists(f"/proc/{pid}"), line
    assert box.ok("run", "--rm", IMAGE, "echo", "works") == "works\n"
    box.remove_everything()
    assert box.settled() == []


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--name", "victim", IMAGE, "true"),
        ("run", "-d", "--rm", "--name", "victim", IMAGE, "sleep", "1000"),
    ],
    ids=["foreground", "detached"],
)
def test_a_killed_engine_leaves_nothing_behind(
    box: ContainerRoot, arguments: tuple[str, ...], step: int
) -> None:
    delays = random.Random(f"{SEED}-{step}-{arguments}")
    kill_engine_at(box, 0.05 + 0.03 * step + delays.uniform(0, 0.03), *arguments)
    after_a_crash(box)


@pytest.mark.parametrize("command", [("stop", "-t", "0"), ("rm", "-f", "-t", "0")], ids=str)
def test_a_killed_stop_or_rm_is_completed_by_the_next(
    box: ContainerRoot, command: tuple[str, ...]
) -> None:
    delays = random.Random(f"{SEED}-{command}")
    for _ in range(3):
        box.ok("run", "-d", "--name", "victim", IMAGE, "sleep", "1000")
        kill_engine_at(box, delays.uniform(0.05, 0.25), *command, "victim")
        after_a_crash(box)


def test_a_killed_monitor_is_noticed(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "orphan", IMAGE, "sleep", "1000")
    found = box.ok("inspect", "orphan")
    monitor_pid = int(found.split('"ConmonPid": ')[1].split(",")[0])
    pid = int(found.split('"Pid": ')[1].split(",")[0])
    os.kill(monitor_pid, signal.SIGKILL)
    assert "Up" in box.status("orphan")  # its process lives on
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "Exited (255)" in box.status("orphan"), "the end to be noticed")
    assert "monitor was killed" in box.ok("inspect", "orphan")
    assert box.ok("start", "orphan") == "orphan\n"
    box.ok("rm", "-f", "-t", "0", "orphan")


def test_a_monitor_killed_in_the_foreground_ends_the_run(box: ContainerRoot) -> None:
    run = box.popen("run", "--name", "fg", IMAGE, "sleep", "1000")
    wait_for(lambda: "Up" in box.status("fg"), "the container")
    found = box.ok("inspect", "fg")
    os.kill(int(found.split('"ConmonPid": ')[1].split(",")[0]), signal.SIGKILL)
    os.kill(int(found.split('"Pid": ')[1].split(",")[0]), signal.SIGKILL)
    status = run.wait(60)
    assert status in (137, 255)  # Linux 6.15 and later know it
    why = box.ok("why", "fg")
    assert ("SIGKILL" in why, "nobody knows how" in why) == (status == 137, status == 255)
    box.ok("rm", "fg")


def test_who_waits_for_a_container_without_its_monitor_learns_how_it_ended(
    box: ContainerRoot,
) -> None:
    """From Linux 6.15 on; else it is unknown, as it is for who comes later."""
    script = "trap 'exit 7' TERM; while :; do busybox sleep 0.1; done"
    for name in ("first", "second"):
        box.ok("run", "-d", "--restart", "always", "--name", name, IMAGE, "sh", "-c", script)
        found = box.ok("inspect", name)
        os.kill(int(found.split('"ConmonPid": ')[1].split(",")[0]), signal.SIGKILL)
    wait = box.popen("wait", "first", stdout=subprocess.PIPE)
    fds = Path(f"/proc/{wait.pid}/fd")
    wait_for(lambda: any(read_link(one) == "anon_inode:inotify" for one in fds.iterdir()), "wait")
    box.ok("kill", "-s", "TERM", "first")
    code = int(wait.communicate(timeout=60)[0])
    assert code in (7, 255)
    assert f"Exited ({code})" in box.status("first")
    assert f"exit code {code}" in box.ok("why", "first") or code == 255
    pid = int(box.ok("inspect", "second").split('"Pid": ')[1].split(",")[0])
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "Exited (255)" in box.status("second"), "the end to be noticed")
    assert "unknown, and nobody could start it again" in box.ok("why", "second")
    assert box.ok("start", "second") == "second\n"
    box.ok("rm", "-f", "-t", "0", "first", "second")


def test_a_monitor_that_hangs_keeps_nobody_from_removing_and_waiting(box: ContainerRoot) -> None:
    impatient = (  # it waits for half a minute
        "import sys; from pyengine.monitor import exits; from pyengine.cli import quick;"
        "exits.MONITOR_S = 0.3; sys.exit(quick.main(sys.argv[1:]))"
    )
    for words, printed in ((("rm", "-f", "-t", "0"), "hung\n"), (("wait",), "255\n")):
        box.ok("run", "-d", "--name", "hung", IMAGE, "sleep", "1000")
        shown = box.ok("inspect", "--format", "{{.State.Pid}} {{.State.ConmonPid}}", "hung")
        pid, monitor_pid = map(int, shown.split())
        os.kill(monitor_pid, signal.SIGSTOP)
        if words[0] == "wait":
            os.kill(pid, signal.SIGKILL)
        program, *arguments = box.argv(*words, "hung")
        python = Path(program).parent / "python3"
        done = subprocess.run(
            [python, "-c", impatient, *arguments], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, printed)
        assert "the monitor of container hung does not record its end" in done.stderr
    box.ok("rm", "-f", "-t", "0", "hung")


def test_a_pid_that_another_process_has_got_is_not_waited_for(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "web", IMAGE, "sleep", "1000")
    shown = box.ok("inspect", "--format", "{{.State.Pid}} {{.State.ConmonPid}}", "web")
    pid, monitor_pid = map(int, shown.split())
    os.kill(monitor_pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "1000"]) as other:
        box.execute(f"UPDATE containers SET monitor_pid = {other.pid}")
        waiting = box.popen("wait", "web", stdout=subprocess.PIPE)
        os.kill(pid, signal.SIGKILL)
        assert waiting.communicate(timeout=60)[0] == b"255\n"
        box.execute(f"UPDATE containers SET status = 'running', pid = {other.pid}")
        assert box.ok("stop", "-t", "0", "web") == "web\n"
        assert other.poll() is None
        other.kill()
    box.ok("rm", "web")


def test_a_killed_runtime_is_an_error_and_leaves_nothing(
    box: ContainerRoot, pyrun_path: str, tmp_path: Path
) -> None:
    """A runtime that is killed at a random point of ``create``, or of ``start``."""
    for command in ("create", "start"):
        for delay_s in (0.0, 0.01, 0.02):
            wrapper = tmp_path / f"runtime-{command}-{delay_s}"
            wrapper.write_text(
                f"#!{sys.executable} -IS\n"
                "import os, sys, time\n"
                f"argv = ['{pyrun_path}', *sys.argv[1:]]\n"
                f"if '{command}' not in sys.argv: os.execv(argv[0], argv)\n"
                "pid = os.posix_spawn(argv[0], argv, os.environ)\n"
                f"time.sleep({delay_s})\n"
                "os.kill(pid, 9)\n"
                "os._exit(137 if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) else 0)\n"
            )
            wrapper.chmod(0o755)
            done = box.call("--runtime", str(wrapper), "run", "--rm", IMAGE, "true")
            assert done.returncode in (0, 125), done.stderr
            assert "Traceback" not in done.stderr
            assert box.settled() == []


def test_a_reboot_ends_every_container(box: ContainerRoot) -> None:
    """Simulated: another boot id in the row, and a run directory that was emptied."""
    import shutil
    import sqlite3

    id_ = box.ok("run", "-d", "--name", "rebooted", IMAGE, "sleep", "1000").strip()
    pid = int(box.ok("inspect", "rebooted").split('"Pid": ')[1].split(",")[0])
    monitor_pid = int(box.ok("inspect", "rebooted").split('"ConmonPid": ')[1].split(",")[0])
    for number in (monitor_pid, pid):
        os.kill(number, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the container's end")
    shutil.rmtree(box.runroot)
    with sqlite3.connect(box.root / "pyengine.db") as connection:
        connection.execute("UPDATE containers SET boot_id = 'another' WHERE id = ?", (id_,))
    connection.close()
    assert "Exited (255)" in box.status("rebooted")
    assert box.ok("start", "rebooted") == "rebooted\n"
    assert "Up" in box.status("rebooted")
    box.ok("rm", "-f", "-t", "0", "rebooted")
