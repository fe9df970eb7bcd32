"""A monitor whose container has settled waits in a small program, and loses nothing by it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.monitors import Container, container, read_if_there, receive_all
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox")

Make = Callable[..., Container]
WAITING = "echo early; until [ -e /tmp/go ]; do sleep 0.05; done; "


@pytest.fixture
def make(tmp_path: Path, pyconmon_path: str) -> Iterator[Make]:
    """``make(script, *options)``: a container whose monitor is resident."""
    with ExitStack() as stack:

        def enter(
            script: str, *options: str, terminal: bool = False, monitor: str = pyconmon_path
        ) -> Container:
            made = stack.enter_context(
                container(monitor, "runc", tmp_path / "c", ["sh", "-c", script], terminal=terminal)
            )
            made.create(*options, *(["-t"] if terminal else []))
            made.start()
            made.settle()
            assert made.is_resident
            return made

        yield enter


def go_on(made: Container) -> None:
    (made.bundle / "rootfs/tmp/go").write_text("")


def test_output_and_exit_code_are_kept(make: Make) -> None:
    made = make(WAITING + "echo late; echo worse >&2; sleep 0.3; echo last; exit 7")
    go_on(made)
    wait_for(lambda: "worse" in made.log.read_text(), "output")
    assert made.wait() == "7"
    made.wait_for_monitor()
    lines = [("stdout", "F", "early"), ("stdout", "F", "late"), ("stderr", "F", "worse"),
             ("stdout", "F", "last")]  # fmt: skip
    assert sorted(made.log_lines()) == sorted(lines)
    record = made.record()
    assert (record["cause"], record["exitCode"]) == ("exit", 7)
    assert sorted(record["lastOutput"]) == ["early", "last", "late", "worse"]


def test_a_client_reads_and_writes(make: Make) -> None:
    made = make("echo early; read word; echo late $word; exit 5", "-i")
    client = made.attach()
    client.send(b"word\n")
    assert receive_all(client) == {2: b"late word\n"}
    assert made.wait() == "5"


def test_the_last_client_leaves_a_small_monitor_behind(make: Make) -> None:
    made = make("echo early; read word; read word; exit 5", "-i", "--leave-stdin-open")
    before = made.program
    with made.attach() as client:
        client.send(b"word\n")
        time.sleep(1.5)  # the time comes to become small, and the client is still there
    wait_for(lambda: made.program != before, "the resident program, once more")
    made.settle()
    made.attach().send(b"word\n")
    assert made.wait() == "5"


def test_a_terminal_is_read_and_resized(make: Make) -> None:
    made = make("read word; stty size; exit 5", "-i", terminal=True)
    (made.bundle / "winsz").write_text("33 44\n")
    client = made.attach()
    client.send(b"x\n")
    assert b"33 44" in receive_all(client)[2]
    assert made.wait() == "5"


def test_a_log_is_rotated_and_reopened(make: Make) -> None:
    made = make(
        WAITING + "seq 1 300; exit 0", "--log-size-max", "8192", "--log-rotate",
        "--log-max-files", "9",
    )  # fmt: skip
    (made.bundle / "ctl").write_text("2 0 0\n")
    wait_for(lambda: (made.log.parent / f"{made.log.name}.1").exists(), "the reopened log")
    go_on(made)
    assert made.wait() == "0"
    made.wait_for_monitor()
    files = sorted(made.log.parent.glob(f"{made.log.name}*"))
    assert len(files) > 2
    kept = [line.split(" ", 3)[3] for path in files for line in path.read_text().splitlines()]
    assert sorted(kept) == sorted(["early", *map(str, range(1, 301))])


def test_a_signal_is_forwarded(make: Make) -> None:
    made = make("trap 'exit 9' TERM; while :; do sleep 0.05; done")
    os.kill(made.monitor_pid, signal.SIGTERM)
    assert made.wait() == "9"


def test_an_exit_command_gets_the_callers_environment(make: Make, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    made = make(WAITING + "exit 3", "--exit-command", "/bin/sh", "--exit-command-arg=-c",
                f"--exit-command-arg=env > {seen}.new; mv {seen}.new {seen}",
                *[f"--exit-command-arg={'x' * 100000}"] * 3)  # fmt: skip
    go_on(made)
    assert made.wait() == "3"
    words = str(wait_for(lambda: read_if_there(seen), "the exit command")).splitlines()
    assert f"PWD={made.directory}" in words
    assert {word.partition("=")[0] for word in words} - {"_", "SHLVL", "OLDPWD"} <= {
        *os.environ, "PWD", "_OCI_SYNCPIPE", "_OCI_STARTPIPE",
    }  # fmt: skip


def test_nothing_is_lost_when_pyconmon_is_uninstalled_meanwhile(
    make: Make, tmp_path: Path, pyconmon_path: str
) -> None:
    installed, _ = install_copy(pyconmon_path, tmp_path)
    made = make(WAITING + "echo late; exit 7", monitor=str(installed / "bin/pyconmon"))
    shutil.rmtree(installed)
    client = made.attach()
    go_on(made)
    assert receive_all(client) == {2: b"late\n"}
    assert made.wait() == "7"
    made.wait_for_monitor()
    assert made.record()["lastOutput"] == ["early", "late"]


def install_copy(pyconmon_path: str, directory: Path) -> tuple[Path, Path]:
    """An installation of its own, and the package in it."""
    installed = directory / "installed"
    top = Path(pyconmon_path).parents[1]
    source = next(iter(top.glob("lib/python3*/site-packages/pyconmon")))
    (installed / "bin").mkdir(parents=True)
    shutil.copy(pyconmon_path, installed / "bin/pyconmon")
    return installed, Path(shutil.copytree(source, installed / source.relative_to(top)))


def test_a_monitor_that_stays_as_it_is_outlives_its_package_too(
    tmp_path: Path, pyconmon_path: str
) -> None:
    """With a log that the resident program does not know, a policy, and a client that lags."""
    installed, _ = install_copy(pyconmon_path, tmp_path)
    arguments = ["sh", "-c", WAITING + "head -c 4000000 /dev/zero; exit 7"]
    with container(str(installed / "bin/pyconmon"), "runc", tmp_path / "c", arguments) as made:
        made.create("-l", f"json-file:{tmp_path}/log.json", "--restart-policy", "on-failure:1",
                    "--exit-command", "/bin/true")  # fmt: skip
        made.start()
        wait_for(lambda: made.holds_modules, "what it may need later")
        shutil.rmtree(installed)
        assert not made.is_resident
        client = made.attach()
        go_on(made)
        assert made.wait() == "7"
        assert len(receive_all(client)[2]) == 4000000
        made.wait_for_monitor()
        assert made.record()["restart"] == {"count": 1, "delaySeconds": 0.1}


def test_a_package_that_changed_since_the_start_is_not_entered(
    tmp_path: Path, pyconmon_path: str
) -> None:
    """Two versions must not be mixed: the monitor stays as it is."""
    installed, copy = install_copy(pyconmon_path, tmp_path)
    arguments = ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.05; done; exit 7"]
    with container(str(installed / "bin/pyconmon"), "runc", tmp_path / "c", arguments) as made:
        runtime = tmp_path / "runtime-that-takes-its-time"
        runtime.write_text(
            f"#!/bin/sh\nfor file in {copy}/__pycache__/*; do\ncp -p $file {copy}/new\n"
            f'mv {copy}/new $file\ndone\nexec {made.real_runtime} "$@"\n'
        )
        runtime.chmod(0o755)
        made.runtime = str(runtime)
        made.create()
        before = switches(made)
        wait_for(lambda: switches(made) > before, "the monitor's only timer")
        assert not made.is_resident
        made.start()
        go_on(made)
        assert made.wait() == "7"


def switches(made: Container) -> int:
    text = Path(f"/proc/{made.monitor_pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
