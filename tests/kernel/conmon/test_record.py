"""The exit record that pyconmon keeps beyond conmon's exit file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from support.monitors import Container

pytestmark = [
    pytest.mark.needs("root", "runc", "busybox"),
    pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True),
]

Make = Callable[..., Container]


def test_an_exit_is_recorded_with_the_last_lines(make: Make) -> None:
    made = make(["sh", "-c", "seq 1 5000; echo why it failed >&2; exit 7"])
    made.run()
    record = made.record()
    assert (record["version"], record["exitCode"], record["signal"]) == (1, 7, None)
    assert (record["cause"], record["oomKilled"]) == ("exit", False)
    assert len(record["lastOutput"]) == 10
    assert {"5000", "why it failed"} <= set(record["lastOutput"])
    assert record["peakMemoryBytes"] > 0
    created, finished = (
        datetime.fromisoformat(record[key][:26]) for key in ("created", "finished")
    )
    assert created < finished


def test_a_kill_is_recorded_as_a_signal(make: Make) -> None:
    made = make(["sleep", "1000"])
    made.create()
    made.start()
    made.run_runtime("kill", made.id, "KILL")
    assert made.wait() == "137"
    record = made.record()
    assert (record["exitCode"], record["signal"], record["cause"]) == (137, 9, "signal")


def test_output_that_is_no_text_does_not_spoil_the_record(make: Make) -> None:
    made = make(["sh", "-c", "printf 'a\\377\\000\"\\\\b\\n'"])
    made.run()
    assert made.record()["lastOutput"] == ['a\ufffd\0"\\b']


def test_a_record_that_cannot_be_written_costs_only_itself(make: Make) -> None:
    made = make(["sh", "-c", "exit 3"])
    (made.persist_dir / "exit.json").mkdir()
    assert made.run() == "3"
    assert (made.persist_dir / "exit").read_text() == "3"
