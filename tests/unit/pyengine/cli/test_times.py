"""--since and --until."""

from __future__ import annotations

import time

import pytest

from pyengine.cli.times import moment_ns, stamp_ns
from pyengine.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1767323045.000000007", 1_767_323_045_000_000_007),
        ("2026-01-02T03:04:05Z", 1_767_323_045_000_000_000),
        ("2026-01-02T03:04:05.123456789Z", 1_767_323_045_123_456_789),
        ("2026-01-02T05:04:05.1+02:00", 1_767_323_045_100_000_000),
        ("2026-01-02Z", 1_767_312_000_000_000_000),
        ("2026-01-02T01:00:00+01:00", 1_767_312_000_000_000_000),
    ],
)
def test_points_in_time_are_exact(text: str, expected: int) -> None:
    assert moment_ns("--since", text) == expected


def test_a_date_without_a_zone_is_ours() -> None:
    local = time.mktime((2026, 1, 2, 3, 4, 0, 0, 0, -1))
    assert moment_ns("--since", "2026-01-02T03:04") == int(local) * 1_000_000_000


def test_a_duration_counts_from_now() -> None:
    now = time.time_ns()
    hour = 3_600_000_000_000
    assert 0 <= moment_ns("--since", "1h") - (now - hour) < hour
    assert 0 <= moment_ns("--until", "1h30m", after_now=True) - (now + 3 * hour // 2) < hour


@pytest.mark.parametrize("text", ["", "bogus", "2026-13-01", "2026-01-01T25", "1x", "99999-01-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="parsing --until"):
        moment_ns("--until", text)


def test_a_stamp_that_is_none_is_zero() -> None:
    assert stamp_ns("yesterday") == 0
