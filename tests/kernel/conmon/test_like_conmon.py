"""The same container under conmon and under pyconmon leaves the same bytes behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from support.monitors import Container, container, is_running
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "conmon", "busybox")

STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d ", re.M)
PIECES = re.compile(rb"stdout P ([^\n]*)\nstdout ([PF]) ")

# Each writes at once or waits between writes, so that both monitors read the same pieces.
SCRIPTS = {
    "lines": "echo one; echo two; echo; echo four",
    "partial": "printf one; sleep 0.2; printf two; sleep 0.2; echo three",
    "carriage returns": "printf 'a\\r\\nb\\rc\\n'",
    "binary": "printf '\\000\\001\\377\\n\\200'",
    "standard error": "echo one >&2; sleep 0.2; printf two >&2; exit 3",
    "empty": "exit 1",
}
# Read in one go: the monitor stands still until everything is in the pipe.
LONG_SCRIPTS = {
    "a block with its newline": "head -c 8191 /dev/zero; echo",
    "a block without newline": "head -c 8192 /dev/zero",
    "many blocks": "head -c 60000 /dev/zero; echo; echo last",
}
CASES = [
    *(pytest.param(script, True, id=f"{name}, terminal") for name, script in SCRIPTS.items()),
    *(pytest.param(script, False, id=f"{name}, pipes") for name, script in SCRIPTS.items()),
]


def whole_lines(log: bytes, *, terminal: bool) -> bytes:
    """How a terminal cuts its output depends on the moment, whoever reads it."""
    while terminal and (shorter := PIECES.sub(rb"stdout \2 \1", log, count=1)) != log:
        log = shorter
    return log


def left_behind(
    monitor: str, directory: Path, script: str, options: tuple[str, ...], *, terminal: bool
) -> dict[str, bytes | str | set[str]]:
    arguments = ["sh", "-c", script]
    with container(monitor, "runc", directory, arguments, terminal=terminal) as made:
        if "-t" in options or "sleep" in script:
            made.run(*options)
        else:
            run_frozen(made, *options)
        # Not the mode of the log: 0600 under conmon 2.1, 0640 under 2.2 and ours.
        return {
            "log": whole_lines(STAMP.sub(b"", made.log.read_bytes()), terminal=terminal),
            "exit": made.exit_file.read_text(),
            "persist": (made.persist_dir / "exit").read_text(),
            "files": relative_files(made),
            "exit mode": oct(made.exit_file.stat().st_mode),
            "monitor mode": oct(made.monitor_pid_file.stat().st_mode),
        }


def run_frozen(made: Container, *options: str) -> None:
    pid = made.create(*options)["data"]
    os.kill(made.monitor_pid, signal.SIGSTOP)
    try:
        made.start()
        wait_for(lambda: not is_running(pid), "the container's end")
    finally:
        os.kill(made.monitor_pid, signal.SIGCONT)
    made.wait()
    made.wait_for_monitor()


def relative_files(made: Container) -> set[str]:
    """All files but the exit record, which conmon has not."""
    return {
        str(path.relative_to(made.directory)).replace(made.id, "ID")
        for path in made.directory.rglob("*")
        if path.name != "exit.json" and "rootfs/" not in str(path) and "runtime/" not in str(path)
    }


@pytest.mark.parametrize(("script", "terminal"), CASES)
def test_log_exit_and_files(
    pyconmon_path: str, tmp_path: Path, script: str, terminal: bool
) -> None:
    options = ("-t",) if terminal else ()
    ours, theirs = (
        left_behind(monitor, tmp_path / name, script, options, terminal=terminal)
        for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or ""))
    )
    assert ours == theirs


@pytest.mark.parametrize("script", LONG_SCRIPTS.values(), ids=LONG_SCRIPTS)
def test_long_output(pyconmon_path: str, tmp_path: Path, script: str) -> None:
    ours, theirs = (
        left_behind(monitor, tmp_path / name, script, (), terminal=False)
        for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or ""))
    )
    assert ours == theirs


@pytest.mark.parametrize("limit", [60, 100, 150, 1000])
def test_a_log_with_a_limit(pyconmon_path: str, tmp_path: Path, limit: int) -> None:
    script = "for n in $(seq 1 20); do echo line $n; done; sleep 0.2; printf rest"
    options = ("--log-size-max", str(limit))
    ours, theirs = (
        left_behind(monitor, tmp_path / name, script, options, terminal=False)
        for name, monitor in (("ours", pyconmon_path), ("theirs", shutil.which("conmon") or ""))
    )
    assert ours == theirs
