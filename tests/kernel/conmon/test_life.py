"""One container's life: create, pid, output, exit files, exit command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.monitors import Container, is_running, read_if_there
from support.waiting import wait_for

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


@pytest.mark.parametrize("group_leader", [False, True])
def test_with_sync_the_monitor_stays_and_ends_as_the_container(
    make: Make, *, group_leader: bool
) -> None:
    made = make(["sh", "-c", "exit 6"])
    sync_read, sync_write = os.pipe()
    with subprocess.Popen(
        made.command("--sync"),
        pass_fds=(sync_write,),
        env={**os.environ, "_OCI_SYNCPIPE": str(sync_write)},
        start_new_session=group_leader,
    ) as process:
        os.close(sync_write)
        with os.fdopen(sync_read) as sync:
            assert json.loads(sync.readline())["data"] > 0
        assert process.poll() is None
        made.start()
        assert process.wait(timeout=60) == 6
    assert made.wait() == "6"


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_working_directory_that_is_gone_is_told(make: Make, tmp_path: Path) -> None:
    made = make(["true"])
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", f'cd {gone}; rmdir {gone}; exec "$@"', "sh", *made.command()]
    index = command.index("-b")
    del command[index : index + 2]
    done, fd = made.launch(command)
    os.close(fd)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "[conmon:e]: Failed to start the monitor: No such file or directory\n"
    )
