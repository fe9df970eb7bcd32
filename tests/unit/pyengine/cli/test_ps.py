from __future__ import annotations

import inspect as real_inspect

import pytest

from pyengine.cli import durations, lean
from pyengine.cli.report import table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"), (1.2, "1 second"), (59, "59 seconds"),
        (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_are_podmans(seconds: float, text: str) -> None:
    assert durations.human(seconds) == text


def test_times_have_nanoseconds_and_nothing_is_gos_zero() -> None:
    assert durations.rfc3339(1.5) == "1970-01-01T00:00:01.500000000Z"
    assert durations.rfc3339(None) == "0001-01-01T00:00:00Z"


def test_columns_are_at_least_twelve_wide_and_the_last_is_not_padded() -> None:
    assert table(["A", "B"], [["1", "2"], ["a" * 15, ""]]) == [
        "A                B", "1                2", "aaaaaaaaaaaaaaa  "
    ]  # fmt: skip
    assert table(None, []) == []


@pytest.mark.parametrize(
    "text", ["one line", "  lead", "first\n    second\n      third\n", "a\n\n    b", "\n  x\n"]
)
def test_cleandoc_is_that_of_inspect(text: str) -> None:
    assert lean.cleandoc(text) == real_inspect.cleandoc(text)
