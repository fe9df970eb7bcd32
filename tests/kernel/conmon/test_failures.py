"""Bad input and faults: what the caller hears, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from support.monitors import Container, is_running
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox")

Make = Callable[..., Container]


def fake_runtime(made: Container, script: str) -> None:
    """Let the monitor call a shell script instead of a runtime."""
    path = made.directory / "fake-runtime"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    made.runtime = str(path)


def create_failing(made: Container, *more: str) -> dict[str, object]:
    """The first line of the sync pipe, after the monitor has gone."""
    done, fd = made.launch(made.command(*more))
    with os.fdopen(fd) as sync:
        line = sync.readline()
    assert done.returncode == 0
    made.wait_for_monitor()
    return dict(json.loads(line)) if line else {}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-r", "/no/such/runtime"],
         "Runtime path /no/such/runtime is not valid"),
        (["-l", "/no/such/dir/log"], "Failed to open log file"),
        (["-l", "fluentd:x"], "No such log driver fluentd"),
        (["-l", "k8s-file"], "k8s-file requires a filename"),
        (["--log-level", "loud"], "No such log level loud"),
        (["--exec"], "Exec process spec path not provided"),
        (["--exec-attach"], "Attach can only be specified with exec"),
        (["--no-such-option"], "conmon: option parsing failed: Unknown option --no-such-option"),
        (["--timeout", "x"], "conmon: option parsing failed: Cannot parse integer value “x” for"),
        (["--runtime"], "conmon: option parsing failed: Missing argument for --runtime"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_before_the_fork(make: Make, more: list[str], message: str) -> None:
    made = make(["true"])
    done, fd = made.launch(made.command(*more))
    with os.fdopen(fd) as sync:
        assert sync.read() == ""
    assert done.returncode == 1
    # conmon 2.1 says what it cannot read on standard output, 2.2 on standard error.
    assert message in done.stdout + done.stderr
    assert not made.monitor_pid_file.exists()


def test_the_runtimes_reason_is_passed_on(make: Make) -> None:
    made = make(["true"])
    (made.bundle / "config.json").write_text("{")
    failure = create_failing(made)
    assert failure["data"] == -1
    assert "unexpected" in str(failure["message"])
    assert not made.exit_file.exists()


def test_a_reason_in_json_survives_its_quotes(make: Make) -> None:
    made = make(["true"])
    reason = '{"level":"error","msg":"mount \\"/a\\\\b\\": \\tnot permitted"}'
    fake_runtime(made, f"printf '%s\\n' '{reason}' >&2; exit 1")
    assert create_failing(made) == {"data": -1, "message": reason + "\n"}


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "exited with status 3 and gave no reason"),
        ("kill -9 $$", "was killed by signal 9 and gave no reason"),
        ("exit 0", "wrote no pid to"),
        ("shift; while [ $1 != --pid-file ]; do shift; done; echo nonsense > $2", "wrote no pid"),
        ("head -c 300000 /dev/zero | tr '\\0' x >&2; exit 1", "xxxxxxxx"),
        ("head -c 300000 /dev/zero | tr '\\0' x; exit 1", "exited with status 1"),
    ],
)
def test_a_runtime_that_misbehaves_is_described(make: Make, script: str, reason: str) -> None:
    """conmon says nothing here, or waits for ever for a runtime that prints too much."""
    made = make(["true"])
    fake_runtime(made, script)
    failure = create_failing(made)
    assert failure["data"] == -1
    assert reason in str(failure["message"])


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_runtime_that_hangs_is_ended_by_the_timeout(make: Make) -> None:
    made = make(["true"])
    fake_runtime(made, f"echo $$ > {made.directory}/hanging; exec sleep 1000")
    failure = create_failing(made, "--timeout", "1")
    assert failure["data"] == -1
    assert "did not end within 1 s" in str(failure["message"])
    assert not is_running((made.directory / "hanging").read_text().strip())


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_runtime_that_sends_no_terminal_is_described(make: Make) -> None:
    made = make(["true"], terminal=True)
    fake_runtime(made, f"echo $$ > {made.pid_file}; exit 0")
    assert create_failing(made, "-t") == {
        "data": -1, "message": "Runtime did not set up terminal",
    }  # fmt: skip


def test_the_exit_command_runs_after_a_failed_create_too(make: Make) -> None:
    made = make(["true"])
    fake_runtime(made, "echo no >&2; exit 1")
    witness = made.directory / "witness"
    create_failing(made, "--exit-command", "/bin/touch", "--exit-command-arg", str(witness))
    wait_for(witness.exists, "the exit command")


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_failed_create_leaves_only_its_fifos(make: Make) -> None:
    made = make(["true"])
    fake_runtime(made, "exit 1")
    create_failing(made)
    assert {path.name for path in made.bundle.iterdir()} == {
        "config.json", "ctl", "rootfs", "winsz",
    }  # fmt: skip


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_caller_that_closed_the_sync_pipe_does_not_end_the_container(make: Make) -> None:
    made = make(["sh", "-c", "exit 9"])
    done, fd = made.launch(made.command("--exit-delay", "0"))
    os.close(fd)
    assert done.returncode == 0
    wait_for(lambda: made.run_runtime("state", made.id).returncode == 0, "the container")
    wait_for(lambda: '"created"' in made.run_runtime("state", made.id).stdout, "created")
    made.start()
    assert made.wait() == "9"


def test_the_bundle_may_be_longer_than_a_socket_address(make: Make) -> None:
    made = make(["true"])
    deep = made.directory / ("d" * 120)
    made.bundle.rename(deep)
    made.bundle = deep
    made.create()
    made.attach().close()
    made.start()
    assert made.wait() == "0"


def test_the_attach_socket_can_be_found_through_a_short_directory(make: Make) -> None:
    made = make(["true"])
    sockets = made.directory / "s"
    sockets.mkdir()
    command = [word for word in made.command() if word != "--full-attach"]
    done, fd = made.launch([*command, "--socket-dir-path", str(sockets)])
    with os.fdopen(fd) as sync:
        assert json.loads(sync.readline())["data"] > 0
    assert done.returncode == 0
    assert (sockets / made.id).readlink() == made.bundle
    assert (sockets / made.id / "attach").is_socket()
    made.start()
    assert made.wait() == "0"


def test_a_missing_bundle_is_refused(make: Make) -> None:
    made = make(["true"])
    made.bundle = made.directory / "nowhere"
    _, fd = made.launch(made.command())
    with os.fdopen(fd) as sync:
        sync.read()
    made.wait_for_monitor()
    assert not made.pid_file.exists()


def test_terminating_the_monitor_terminates_the_container(make: Make) -> None:
    made = make(["sh", "-c", "trap 'exit 12' TERM; echo ready; while :; do :; done"])
    made.create()
    made.start()
    wait_for(lambda: made.log.read_text(), "the container")
    os.kill(made.monitor_pid, signal.SIGTERM)
    assert made.wait() == "12"


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_storm_of_signals_changes_nothing(make: Make) -> None:
    made = make(["sleep", "1000"])
    made.create()
    made.start()
    for _ in range(300):
        for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE):
            os.kill(made.monitor_pid, number)
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_an_exit_that_cannot_be_written_in_one_place_is_in_the_other(make: Make) -> None:
    made = make(["sh", "-c", "exit 8"])
    made.create()
    made.persist_dir.rmdir()
    made.start()
    assert made.wait() == "8"


def test_a_timeout_kills_the_container_and_leaves_an_unknown_code(make: Make) -> None:
    made = make(["sleep", "1000"])
    pid = made.create("--timeout", "1")["data"]
    made.start()
    assert made.wait() == "-1"
    if made.has_record:
        assert made.record()["cause"] == "timeout"
    wait_for(lambda: not is_running(pid), "the container's end")


def test_ports_of_the_caller_are_free_when_the_exit_is_known(make: Make) -> None:
    """podman leaves the sockets of published ports open in its monitor."""
    made = make(["true"])
    held_read, held_write = os.pipe()
    sync_read, sync_write = os.pipe()
    with subprocess.Popen(
        made.command(),
        pass_fds=(held_write, sync_write),
        env={**os.environ, "_OCI_SYNCPIPE": str(sync_write)},
    ):
        os.close(held_write)
        os.close(sync_write)
    with os.fdopen(sync_read) as sync:
        assert json.loads(sync.readline())["data"] > 0
    made.start()
    made.wait()
    with os.fdopen(held_read) as held:
        assert held.read() == ""
