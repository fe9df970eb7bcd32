"""Crashes at random points, lost state, odd clocks, crowds: the next command always works."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.containers import IMAGE, ContainerRoot
from support.disks import tmpfs
from support.monitors import read_link
from support.registry import debian_registry
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

SEED = os.environ.get("PYENGINE_TEST_SEED", str(random.randrange(1_000_000)))
VICTIMS = {"engine": b"pyengine", "monitor": b"pyconmon", "runtime": b"pyrun"}
LONGEST_S = 0.3
HANG_S = 30
SLEEPER = ("sleep", "1000")
# What is killed half way; "web" runs before all but the first three.
COMMANDS = [
    ("run", "--name", "web", IMAGE, "echo", "done"),
    ("run", "-d", "--name", "web", IMAGE, *SLEEPER),
    ("run", "-d", "--rm", "--name", "web", IMAGE, *SLEEPER),
    ("exec", "web", "true"),
    ("exec", "-d", "web", *SLEEPER),
    ("stop", "-t", "0", "web"),
    ("rm", "-f", "-t", "0", "web"),
    ("restart", "-t", "0", "web"),
    ("pause", "web"),
    ("kill", "web"),
]


def processes_of(box: ContainerRoot, victim: str) -> list[int]:
    """The pids of one program that work on this root."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        ours = any(os.fsencode(box.runroot) in word for word in words)
        program = b" ".join(words[:5])
        if ours and VICTIMS[victim] in program and int(name) != os.getpid():
            found.append(int(name))
    return found


def kill_at(box: ContainerRoot, delay_s: float, victim: str, *words: str) -> None:
    """Run a command, and kill one of the programs that it needs at some moment."""
    command = box.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + delay_s
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(delay_s)  # the moment is random on purpose
        while command.poll() is None and time.monotonic() < deadline + LONGEST_S:
            pids = [command.pid] if victim == "engine" else processes_of(box, victim)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if pids:
                break
        command.wait(HANG_S)
    finally:
        command.kill()
        command.wait()


def check_truth(box: ContainerRoot) -> None:
    """What ps says of each container is so; one may just end after it was looked at."""
    listed: list[dict[str, Any]] = []

    def is_so() -> bool:
        listed[:] = json.loads(box.ok("ps", "-a", "--format", "json"))
        return all(os.path.exists(f"/proc/{one['Pid']}") for one in listed if one["Pid"])

    wait_for(is_so, f"the processes of {listed}")
    for found in listed:
        running = found["State"] in ("running", "paused", "initialized")
        assert running == bool(found["Pid"]), found
        if not running:  # its monitor may be about to clean up
            wait_for(functools.partial(has_no_cgroup, box, found["Id"]), f"no cgroup of {found}")


def has_no_cgroup(box: ContainerRoot, id_: str) -> bool:
    return box.cgroups(id_) == []


def check_nothing_is_left(box: ContainerRoot) -> None:
    ids = box.ok("ps", "-aq", "--no-trunc").split()
    box.remove_everything()
    assert box.settled() == []
    assert [path for id_ in ids for path in box.cgroups(id_)] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_program_killed_at_any_point_leaves_the_truth_and_no_rest(
    box: ContainerRoot, victim: str, request: pytest.FixtureRequest
) -> None:
    points = request.config.getoption("--fault-points") // len(VICTIMS)
    chosen = random.Random(f"{SEED}-{victim}")
    for point in range(points):
        words = chosen.choice(COMMANDS)
        delay_s = chosen.uniform(0.0, LONGEST_S)
        story = f"seed {SEED}, point {point}: {victim} killed after {delay_s:.3f} s of {words}"
        if words[0] != "run":
            box.ok("run", "-d", "--name", "web", IMAGE, *SLEEPER)
        try:
            kill_at(box, delay_s, victim, *words)
            check_truth(box)
            check_nothing_is_left(box)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"{story}: {error}") from error
    assert box.sh("echo works") == "works\n"


def kill_and_wait(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), "the end")  # type: ignore[misc]  # the default binds it


def pids_of(box: ContainerRoot, name: str) -> tuple[int, int]:
    """Of the container's program and of its monitor."""
    shown = box.ok("inspect", "--format", "{{.State.Pid}} {{.State.ConmonPid}}", name).split()
    assert "0" not in shown  # which would be ourselves
    return int(shown[0]), int(shown[1])


def test_after_a_reboot_all_have_ended_and_may_start_again(box: ContainerRoot) -> None:
    """Simulated: everything killed, another boot id, /run as empty as after a boot."""
    box.ok("run", "-d", "--name", "ran", IMAGE, "sh", "-c", "echo x >>/kept; exec sleep 1000")
    box.ok("run", "-d", "--rm", "--name", "temporary", IMAGE, *SLEEPER)
    box.ok("run", "-d", "--name", "frozen", IMAGE, *SLEEPER)
    box.ok("pause", "frozen")
    box.ok("create", "--name", "ready", IMAGE, *SLEEPER)
    box.ok("init", "ready")
    names = ("ran", "temporary", "frozen", "ready")
    pids = [pids_of(box, name) for name in names]
    for pid, monitor_pid in pids:
        os.kill(monitor_pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    thaw(box)
    kill_and_wait(*(pid for pid, _ in pids if os.path.exists(f"/proc/{pid}")))
    for path in box.mounts():
        subprocess.run(["umount", "-l", path], check=True)
    shutil.rmtree(box.runroot)
    box.execute("UPDATE containers SET boot_id = 'another'")
    box.execute("UPDATE facts SET value = 'another' WHERE key = 'swept'")
    shown = box.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}")
    assert shown.count("Exited (255)") == 3
    assert "temporary" not in shown
    check_truth(box)
    assert box.ok("start", "ran", "frozen", "ready").split() == ["ran", "frozen", "ready"]
    wait_for(lambda: box.ok("exec", "ran", "cat", "/kept") == "x\nx\n", "the second life")
    check_nothing_is_left(box)


def thaw(box: ContainerRoot) -> None:
    """A frozen process of cgroup v1 dies when it is thawed."""
    for id_ in box.ok("ps", "-aq", "--no-trunc").split():
        for path in box.cgroups(id_):
            freezer = Path(path, "freezer.state")
            if freezer.exists():
                freezer.write_text("THAWED")


def test_what_the_runtime_has_forgotten_can_be_stopped_and_removed(box: ContainerRoot) -> None:
    for name in ("stopped", "removed", "waited", "frozen"):
        box.ok("run", "-d", "--name", name, IMAGE, *SLEEPER)
    box.ok("pause", "frozen")
    for id_ in box.ok("ps", "-q", "--no-trunc").split():
        shutil.rmtree(f"/run/pyrun/{id_}")
    check_truth(box)
    assert box.fails("exec", "stopped", "true", status=125)
    box.ok("stop", "-t", "0", "stopped")
    assert "Exited" in box.status("stopped")
    box.ok("rm", "-f", "-t", "0", "removed", "frozen")
    pid, _ = pids_of(box, "waited")
    os.kill(pid, signal.SIGKILL)
    assert box.ok("wait", "waited") == "137\n"
    assert box.ok("start", "stopped") == "stopped\n"
    check_truth(box)
    check_nothing_is_left(box)


def test_who_empties_the_run_directory_loses_no_container(box: ContainerRoot) -> None:
    names = ("stopped", "removed", "waited", "restarted")
    for name in names:
        box.ok("run", "-d", "--name", name, IMAGE, *SLEEPER)
    pid, _ = pids_of(box, "waited")
    shutil.rmtree(box.runroot)
    check_truth(box)
    assert "config.json" in box.fails("exec", "stopped", "true", status=125)
    assert box.ok("stop", "-t", "0", "stopped") == "stopped\n"
    assert box.ok("rm", "-f", "-t", "0", "removed") == "removed\n"
    waiting = box.popen("wait", "waited", stdout=subprocess.PIPE)
    os.kill(pid, signal.SIGKILL)
    assert waiting.communicate(timeout=60)[0] in (b"137\n", b"255\n")
    assert box.ok("restart", "-t", "0", "restarted") == "restarted\n"
    check_truth(box)
    check_nothing_is_left(box)


def test_a_root_that_is_mounted_already_or_not_any_more_is_no_obstacle(box: ContainerRoot) -> None:
    box.ok("create", "--name", "m", IMAGE, "sh", "-c", "echo x >>/kept; exec sleep 1000")
    box.ok("start", "m")
    box.ok("stop", "-t", "0", "m")
    id_ = box.ok("ps", "-aq", "--no-trunc").strip()
    directory = box.root / "containers" / id_
    lower = next((box.root / "layers").iterdir())
    options = f"lowerdir={lower},upperdir={directory}/diff,workdir={directory}/work"
    mount = ["mount", "-t", "overlay", "-o", options, "left", str(directory / "merged")]
    subprocess.run(mount, check=True)
    box.ok("start", "m")
    wait_for(lambda: box.ok("exec", "m", "cat", "/kept") == "x\nx\n", "the second life")
    box.ok("stop", "-t", "0", "m")
    assert box.mounts() == []
    box.ok("start", "m")
    subprocess.run(["umount", "-l", str(directory / "merged")], check=True)
    box.ok("stop", "-t", "0", "m")
    check_truth(box)
    check_nothing_is_left(box)


def test_an_image_removed_under_a_stopped_container_leaves_it_its_layers(
    pyengine_path: str, tmp_path: Path
) -> None:
    box = ContainerRoot(pyengine_path, tmp_path)
    box.load_image()
    try:
        box.ok("create", "--name", "kept", IMAGE, "echo", "still here")
        assert "in use by" in box.fails("rmi", IMAGE, status=2)
        box.ok("untag", IMAGE)
        assert box.ok("start", "-a", "kept") == "still here\n"
        box.execute("UPDATE containers SET image_id = NULL")  # as a forced removal leaves it
        box.ok("image", "prune", "-a", "-f")
        assert box.ok("images", "-q") == ""
        assert box.ok("start", "-a", "kept") == "still here\n"
        assert "kept" in box.ok("ps", "-a", "--size")
        assert json.loads(box.ok("inspect", "kept"))[0]["Name"] == "kept"
    finally:
        box.remove_everything()
    assert box.settled() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "small", "9m") as directory:
        yield directory


def test_on_a_full_disk_containers_end_and_go(
    pyengine_path: str, tmp_path: Path, small_disk: Path
) -> None:
    box = ContainerRoot(pyengine_path, small_disk)
    box.runroot = tmp_path / "runroot"
    box.load_image()
    try:
        box.ok("run", "-d", "--name", "web", IMAGE, *SLEEPER)
        box.ok("run", "-d", "--name", "other", IMAGE, *SLEEPER)
        with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert shutil.disk_usage(small_disk).free == 0
        assert box.ok("ps", "-q").count("\n") == 2
        box.call("run", "-d", IMAGE, *SLEEPER)  # whether this succeeds is the database's luck
        check_truth(box)
        box.call("stop", "-t", "0", "web")
        assert box.ok("rm", "-f", "-t", "0", "web", "other") == "web\nother\n"
        check_truth(box)
        (small_disk / "filler").unlink()
        assert box.sh("echo works") == "works\n"
    finally:
        box.remove_everything()
    assert box.settled() == []


def test_a_clock_that_was_set_back_confuses_nobody(box: ContainerRoot) -> None:
    box.ok("run", "-d", "--name", "future", IMAGE, *SLEEPER)
    box.call("run", "--name", "ended", IMAGE, "false")
    box.execute("UPDATE containers SET created_at = created_at + 7200,"
                " started_at = started_at + 7200, finished_at = finished_at + 7200")  # fmt: skip
    box.ok("create", "--name", "now", IMAGE, "true")
    shown = box.ok("ps", "-a", "--format", "{{.Names}}: {{.Status}}")
    assert "future: Up Less than a second" in shown
    assert "ended: Exited (1) Less than a second ago" in shown
    assert box.ok("ps", "-l", "--format", "{{.Names}}") == "ended\n"  # by what the clock said
    box.ok("stop", "-t", "0", "future")
    assert "Exited (137)" in box.status("future")
    box.ok("start", "future")
    check_truth(box)
    box.ok("container", "prune", "-f")
    assert box.ok("ps", "-aq").count("\n") == 1
    check_nothing_is_left(box)


def test_nobody_inherits_a_lock_or_the_database(
    box: ContainerRoot, pyrun_path: str, tmp_path: Path
) -> None:
    """A lock lasts as long as the last descriptor of its file, whoever has it."""
    seen, wrapper = tmp_path / "seen", tmp_path / "runtime"
    wrapper.write_text(f'#!/bin/sh\nls -l /proc/$$/fd >>{seen}\nexec {pyrun_path} "$@"\n')
    wrapper.chmod(0o755)
    ours = ("--runtime", str(wrapper))
    box.ok(*ours, "run", "-d", "--name", "web", IMAGE, *SLEEPER)
    box.ok(*ours, "exec", "-d", "web", *SLEEPER)
    programs = [int(pid) for pid in box.ok("top", "web", "hpid").split()[1:]]
    assert len(programs) == 2
    wait_for(lambda: len(processes_of(box, "monitor")) == 2, "both monitors")
    for pid in (*programs, *processes_of(box, "monitor")):
        links = [read_link(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [
            link for link in links if link.startswith(str(box.root)) and "ctr.log" not in link
        ]
    box.ok("stop", "-t", "0", "web")
    calls = seen.read_text()
    assert "pipe:" in calls
    assert "/locks/" not in calls
    assert "pyengine.db" not in calls
    check_nothing_is_left(box)


@pytest.mark.timeout(900)
def test_a_crowd_of_runs_and_a_stop_of_all_meet_no_lock(
    box: ContainerRoot, request: pytest.FixtureRequest
) -> None:
    runs = [
        box.popen("run", "-d", "--name", f"c{number}", IMAGE, *SLEEPER, stdout=subprocess.DEVNULL,
                  stderr=subprocess.PIPE)
        for number in range(32)
    ]  # fmt: skip
    seen = 0
    while any(run.poll() is None for run in runs):
        seen = box.ok("ps", "-a", "--noheading").count("\n")
    complaints = [run.communicate()[1] for run in runs]
    assert ([run.returncode for run in runs], complaints) == ([0] * 32, [b""] * 32)
    assert seen > 0
    more = request.config.getoption("--crowd") - 32
    for number in range(max(more, 0)):
        box.ok("run", "-d", "--name", f"d{number}", IMAGE, *SLEEPER)
    count = 32 + max(more, 0)
    assert box.ok("ps", "-q").count("\n") == count
    assert box.ok("stop", "-t", "0", "--all").count("\n") == count
    assert box.ok("ps", "-q") == ""
    assert box.ok("ps", "-aq", "--filter", "exited=137").count("\n") == count
    check_nothing_is_left(box)


@pytest.mark.timeout(600)
@pytest.mark.needs("docker-registry")
def test_runs_during_pushes_and_crashes_neither_hang_nor_meet_a_lock(
    box: ContainerRoot, tmp_path: Path
) -> None:
    chosen = random.Random(f"{SEED}-crashes")
    runs = []
    with debian_registry(tmp_path) as host:
        try:
            for number in range(16):
                words = ("run", "--rm", "--name", f"c{number}", IMAGE, "echo", str(number))
                runs.append(box.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            push = box.popen("push", "-q", "--tls-verify=false", IMAGE, f"docker://{host}/box:1")
            runs.append(push)
            crashes = 0
            while crashes < 4 or any(run.poll() is None for run in runs):
                words = ("run", "-d", "--name", f"crash{crashes}", IMAGE, *SLEEPER)
                kill_at(box, chosen.uniform(0.0, LONGEST_S), "engine", *words)
                crashes += 1
                shown = box.call("ps", "-a")
                assert (shown.returncode, "locked" in shown.stderr) == (0, False), shown.stderr
            said = [run.communicate(timeout=HANG_S) for run in runs]
        finally:
            for run in runs:
                run.kill()
                run.communicate()
        assert [run.returncode for run in runs] == [0] * 17, f"seed {SEED}: {said}"
        assert [out for out, _ in said[:-1]] == [f"{number}\n".encode() for number in range(16)]
        assert not any(b"locked" in complaints for _, complaints in said[:-1])
        box.ok("pull", "-q", "--tls-verify=false", f"{host}/box:1")
        box.ok("untag", f"{host}/box:1")
    check_truth(box)
    check_nothing_is_left(box)
