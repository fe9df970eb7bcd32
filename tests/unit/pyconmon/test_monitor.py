from __future__ import annotations

import os
import posix
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyconmon import handover, monitor


class FailingLoop:
    """Its first rounds fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.raised: list[int] = []

    def run(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")

    def raise_signal(self, number: int) -> None:
        self.raised.append(number)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> monitor.Monitor:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    options: Any = SimpleNamespace()
    logs: Any = None
    return monitor.Monitor(options, logs, set(), 0)


def test_a_fault_does_not_leave_a_container_without_a_monitor(made: monitor.Monitor) -> None:
    failing: Any = FailingLoop(3)
    made._set_up(failing)
    made._processes.container_pid = 1234
    made._run_loop()
    assert failing.raised == [signal.SIGCHLD] * 3, "what failed may have been the end's handling"


def test_a_fault_in_the_round_of_the_end_does_not_lose_the_exit_code(
    made: monitor.Monitor,
) -> None:
    failing: Any = FailingLoop(1)
    made._set_up(failing)
    made._code = 7
    made._run_loop()
    assert failing.raised == []


def test_a_fault_before_there_is_a_container_ends_the_monitor(made: monitor.Monitor) -> None:
    failing: Any = FailingLoop(1)
    made._set_up(failing)
    with pytest.raises(OSError, match="No space"):
        made._run_loop()


def test_an_exit_code_is_recorded_whatever_fails_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_monitor: monitor.Monitor, _code: int) -> None:
        raise MemoryError

    monkeypatch.setattr(monitor.Monitor, "_gather", fail)
    options: Any = SimpleNamespace(exit_dir=str(tmp_path), persist_dir=None, cid="c", exec=False)
    logs: Any = None
    made = monitor.Monitor(options, logs, set(), 0)
    made._code = 7
    assert made._finish() == 7
    assert (tmp_path / "c").read_text() == "7"


def test_a_busy_host_puts_off_the_resident_program_but_not_for_ever(
    made: monitor.Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [True] * 20
    done: list[str] = []

    def look(_made: monitor.Monitor) -> None:
        done.append("looked")

    def put_off(_made: monitor.Monitor) -> None:
        done.append("put off")

    def hold(_began_ns: int) -> None:
        done.append("held")

    monkeypatch.setattr(monitor, "_is_busy", answers.pop)
    monkeypatch.setattr(monitor.Monitor, "_hand_over_later", put_off)
    monkeypatch.setattr(monitor.Monitor, "_state", look)
    monkeypatch.setattr(handover, "hold_modules", hold)
    while "looked" not in done:
        made._hand_over()
    assert done == [*["put off"] * monitor._DELAYS, "looked", "held"]


@pytest.mark.parametrize(("running", "busy"), [(1, False), (2, False), (3, True)])
def test_a_host_is_busy_when_more_want_to_run_than_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: int, busy: bool
) -> None:
    (tmp_path / "loadavg").write_text(f"9.84 8.10 7.00 {running}/845 31000\n")
    fd = os.open(tmp_path / "loadavg", os.O_RDONLY)
    monkeypatch.setattr(posix, "open", lambda *_: fd)
    monkeypatch.setattr(posix, "cpu_count", lambda: 2)
    assert monitor._is_busy() is busy
