from __future__ import annotations

from pathlib import Path

import pytest

from pyengine.containers import logs
from pyengine.containers.signals import number
from pyengine.errors import ConfigError

LOG = b"""\
2026-01-01T00:00:00.1+00:00 stdout F one
2026-01-01T00:00:00.2+00:00 stderr F two
2026-01-01T00:00:00.3+00:00 stdout P par
2026-01-01T00:00:00.4+00:00 stdout F tial  line
2026-01-01T00:00:00.5+00:00 stdout F last
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "ctr.log").write_bytes(LOG)
    return str(tmp_path / "ctr.log")


def texts(lines: object) -> list[tuple[str, bytes, bool]]:
    return [(line.stream, line.text, line.partial) for line in lines]  # type: ignore[attr-defined]  # Lines


def test_lines_keep_their_stream_their_blanks_and_whether_they_end(path: str) -> None:
    assert texts(logs.read(path)) == [
        ("stdout", b"one", False),
        ("stderr", b"two", False),
        ("stdout", b"par", True),
        ("stdout", b"tial  line", False),
        ("stdout", b"last", False),
    ]
    assert next(logs.read(path)).time == "2026-01-01T00:00:00.1Z"


@pytest.mark.parametrize(
    ("tail", "first"), [(0, None), (1, b"last"), (2, b"par"), (3, b"two"), (99, b"one")]
)
def test_tail_counts_whole_lines(path: str, tail: int, first: bytes | None) -> None:
    found = list(logs.read(path, tail))
    assert (found[0].text if found else None) == first


def test_a_container_that_never_ran_has_no_log(tmp_path: Path) -> None:
    assert list(logs.read(f"{tmp_path}/none")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("10", 10), ("RTMIN+3", 37), ("RTMAX", 64)],
)
def test_signals_by_name_and_number(text: str, expected: int) -> None:
    assert number(text) == expected


@pytest.mark.parametrize("text", ["BOGUS", "0", "65", "", "RTMIN+99", "_DFL", "TERM+1", "-9"])
def test_what_is_no_signal_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid signal"):
        number(text)
