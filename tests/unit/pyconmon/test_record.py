from __future__ import annotations

import pytest

from pyconmon import record, stdio


@pytest.mark.parametrize(
    ("status", "oom_killed", "timed_out", "forwarded", "cause"),
    [
        (0, False, False, 0, "exit"),
        (7 << 8, True, False, 0, "exit"),
        (9, False, False, 0, "signal"),
        (9, True, False, 0, "oom"),
        (15, False, False, 15, "forwarded-signal"),
        (9, False, False, 15, "signal"),
        (None, False, True, 0, "timeout"),
        (None, False, False, 0, "unknown"),
    ],
)
def test_the_cause_of_an_end(
    status: int | None, oom_killed: bool, timed_out: bool, forwarded: int, cause: str
) -> None:
    life = record.Life()
    life.status, life.oom_killed, life.timed_out = status, oom_killed, timed_out
    life.forwarded_signal = forwarded
    assert life.cause() == cause


def test_only_the_end_of_the_output_is_kept() -> None:
    tail = stdio.Tail(b"")
    for number in range(3000):
        tail.add(b"%d\n" % number)
    assert len(tail.data) == stdio.TAIL_BYTES
    assert tail.data.endswith(b"\n2999\n")
    tail.add(bytes(100000))
    assert tail.data == bytes(stdio.TAIL_BYTES)


def test_a_time_is_written_in_utc() -> None:
    assert record.timestamp(1_000_000_007) == "1970-01-01T00:00:01.000000007Z"
