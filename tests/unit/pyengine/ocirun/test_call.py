from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pyengine import errors
from pyengine.ocirun import call


def program(directory: Path, script: str) -> call.Runtime:
    path = directory / "runtime"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return call.Runtime(str(path), ["--flag"])


@pytest.mark.parametrize(
    ("text", "cls"),
    [
        ('exec: "x": executable file not found in $PATH', errors.CommandNotFoundError),
        ("executable file `x` not found in $PATH", errors.CommandNotFoundError),
        ("exec /x: no such file or directory", errors.CommandNotFoundError),
        ('exec: "/x": permission denied', errors.CommandNotExecutableError),
        ("open executable: Permission denied", errors.CommandNotExecutableError),
        ("exec /x: exec format error", errors.CommandNotExecutableError),
        ("mount failed", errors.RuntimeCallError),
    ],
)
def test_the_runtimes_words_decide_the_error(text: str, cls: type[Exception]) -> None:
    error = call.error_of("runtime", text)
    assert type(error) is cls
    assert str(error).startswith(f"runtime: {text}: ")


def test_the_last_json_record_of_a_log_is_the_message() -> None:
    log = (
        '{"level":"warning","msg":"first"}\n{"level":"error","msg":"real cause"}\n'
        '{"level":"debug","msg":"later"}\n'
    )
    assert str(call.error_of("r", log)) == "r: real cause: OCI runtime error"
    assert str(call.error_of("r", "")) == "r: no message: OCI runtime error"


def test_a_call_passes_flags_and_arguments(tmp_path: Path) -> None:
    assert program(tmp_path, 'echo "$@"').call("state", "id") == b"--flag state id\n"


def test_a_failing_call_tells_what_the_runtime_said(tmp_path: Path) -> None:
    with pytest.raises(errors.RuntimeCallError, match="runtime: broken: OCI runtime error"):
        program(tmp_path, "echo broken >&2; exit 3").start("id")


def test_a_killed_runtime_is_told_with_its_signal(tmp_path: Path) -> None:
    with pytest.raises(errors.RuntimeCallError, match="exit status 137"):
        program(tmp_path, "kill -9 $$").start("id")


def test_a_daemon_that_keeps_the_runtimes_output_open_is_not_waited_for(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! >{tmp_path}/pid; echo last"
    try:
        assert program(tmp_path, script).call("start", "id") == b"last\n"
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_runtime_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.RuntimeCallError, match=r"execute .*missing"):
        call.Runtime(f"{tmp_path}/missing", []).start("id")


def test_what_is_gone_already_is_no_error(tmp_path: Path) -> None:
    runtime = program(tmp_path, "echo container does not exist >&2; exit 1")
    runtime.delete("id")
    assert runtime.kill("id", signal.SIGTERM) is False
    assert runtime.state("id") is None


def test_a_flood_on_both_streams_does_not_block(tmp_path: Path) -> None:
    runtime = program(tmp_path, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
    assert len(runtime.call("x")) >= call.MAX_OUTPUT_BYTES


def test_children_get_sigpipe_back(tmp_path: Path) -> None:
    output = program(tmp_path, "grep SigIgn /proc/self/status").call("x")
    ignored = int(output.split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))
