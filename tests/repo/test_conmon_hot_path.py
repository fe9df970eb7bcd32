"""pyconmon stays resident once per container: what it has imported, each container pays for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.monitors import container, sleeps
from support.waiting import wait_for

TOP = Path(__file__).resolve().parents[2]

# What the banned list of pyproject.toml says, and what python3 -I -S brings by itself.
_BANNED = set(
    re.findall(
        r'"(\w+)"',
        re.search(
            r"banned-module-level-imports = \[(.*?)\]", (TOP / "pyproject.toml").read_text(), re.S
        )[1],  # type: ignore[index]  # a failure here is a failure of the test
    )
) | {"os", "site", "struct", "types", "warnings", "stat"}


def loaded_modules(program: str) -> set[str]:
    """What ``program``, a path of pyconmon's package, has in sys.modules after its import."""
    code = f"import sys; sys.path.append({program!r}); import pyconmon.monitor, pyconmon.cli;"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code + "print(*sys.modules)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_a_monitor_imports_no_banned_module() -> None:
    loaded = loaded_modules(str(TOP / "conmon/src"))
    assert "pyconmon.monitor" in loaded
    assert loaded & _BANNED == set()


def test_rare_parts_are_loaded_when_they_are_asked_for() -> None:
    loaded = loaded_modules(str(TOP / "conmon/src"))
    assert loaded & {"pyconmon.journal", "pyconmon.notify", "termios"} == set()


@pytest.mark.needs("root", "runc", "busybox")
def test_an_idle_monitor_never_wakes_up(tmp_path: Path, pyconmon_path: str) -> None:
    with container(pyconmon_path, "runc", tmp_path / "c", ["sleep", "1000"]) as made:
        made.create()
        made.start()
        pid = made.monitor_pid
        made.settle()
        before = switches(pid)
        time.sleep(1)
        assert switches(pid) == before


def switches(pid: int) -> int:
    """How often the process has gone to sleep so far, and so how often it has woken up."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.M)[0])


@pytest.mark.needs("root", "runc", "busybox")
def test_an_idle_monitor_holds_little_more_than_a_bare_interpreter(
    tmp_path: Path, pyconmon_path: str
) -> None:
    """What no other process shares: code, heap, and what the interpreter itself writes to."""
    python = Path(pyconmon_path).parent / "python3"
    with (
        container(pyconmon_path, "runc", tmp_path / "c", ["sleep", "1000"]) as made,
        subprocess.Popen(
            [python, "-I", "-S", "-c", "print(flush=True); import time; time.sleep(1000)"],
            stdout=subprocess.PIPE,
        ) as bare,
    ):
        try:
            assert bare.stdout
            bare.stdout.readline()
            made.create()
            made.start()
            wait_for(lambda: sleeps(made.monitor_pid), "the monitor's rest")
            assert anonymous_kib(made.monitor_pid) - anonymous_kib(bare.pid) < 820
            made.settle()
            assert anonymous_kib(made.monitor_pid) - anonymous_kib(bare.pid) < 320
            log = made.log.stat().st_ino
            (made.bundle / "ctl").write_text("2 0 0\n")
            wait_for(lambda: made.log.stat().st_ino != log, "the new log")
            wait_for(
                lambda: anonymous_kib(made.monitor_pid) - anonymous_kib(bare.pid) < 320,
                "the resident program, once the request is done",
            )
        finally:
            bare.kill()


def anonymous_kib(pid: int) -> int:
    text = ""
    while not text:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except ProcessLookupError:  # its memory goes just now, as it executes the resident program
            os.kill(pid, 0)
    return int(re.findall(r"^Anonymous:\s*(\d+)", text, re.M)[0])
