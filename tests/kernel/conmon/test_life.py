"""One container's life: create, pid, output, exit files, exit command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.monitors import Container, is_running, read_if_there, wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox")

Make = Callable[..., Container]


def test_exit_code_and_output_are_kept(make: Make) -> None:
    made = make(["sh", "-c", "echo out; echo err >&2; printf part; exit 7"])
    assert made.run() == "7"
    assert sorted(made.log_lines()) == [
        ("stderr", "F", "err"), ("stdout", "F", "out"), ("stdout", "P", "part"),
    ]  # fmt: skip
    assert (made.persist_dir / "exit").read_text() == "7"
    assert [path.name for path in made.exit_file.parent.iterdir()] == [made.id]


def test_a_signal_becomes_128_and_its_number(make: Make) -> None:
    made = make(["sleep", "1000"])
    assert made.create()["data"] == int(made.pid_file.read_text())
    made.start()
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"


def test_exit_command_runs_after_the_exit_file(make: Make, tmp_path: Path) -> None:
    made = make(["sh", "-c", "exit 3"])
    copy = tmp_path / "copy"
    made.run(
        "--exit-command", "/bin/busybox",
        "--exit-command-arg", "cp", "--exit-command-arg", str(made.exit_file),
        "--exit-command-arg", str(copy),
    )  # fmt: skip
    assert copy.read_text() == "3"


def test_container_and_exit_are_not_lost_when_it_ends_at_once(make: Make) -> None:
    made = make(["true"])
    assert made.run() == "0"
    assert not os.path.exists(made.bundle / "attach")


def test_without_an_exit_there_is_no_exit_file(make: Make) -> None:
    made = make(["sleep", "1000"])
    pid = made.create()["data"]
    made.start()
    os.kill(made.monitor_pid, 9)
    made.wait_for_monitor()
    assert is_running(pid), "the container goes on without its monitor"
    assert read_if_there(made.exit_file) is None
    made.run_runtime("kill", made.id, "KILL")
    wait_for(lambda: not is_running(pid), "the container's end")
    assert read_if_there(made.exit_file) is None
