from __future__ import annotations

import json
import os
from collections.abc import Iterable
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


def every(_line: logs.Line) -> bool:
    return True


def texts(lines: Iterable[logs.Line]) -> list[tuple[str, bytes, bool]]:
    return [(line.stream, line.text, line.partial) for line in lines]


def test_parts_of_a_line_are_joined_by_stream(path: str) -> None:
    assert texts(logs.read(path, None, every)) == [
        ("stdout", b"one", False),
        ("stderr", b"two", False),
        ("stdout", b"partial  line", False),
        ("stdout", b"last", False),
    ]
    times = [line.time for line in logs.read(path, None, every)]
    assert times[0] == "2026-01-01T00:00:00.1Z"
    assert times[2] == "2026-01-01T00:00:00.3Z"


@pytest.mark.parametrize(
    ("tail", "first"),
    [(0, None), (1, b"last"), (2, b"partial  line"), (3, b"two"), (99, b"one")],
)
def test_tail_counts_whole_lines(path: str, tail: int, first: bytes | None) -> None:
    found = list(logs.read(path, tail, every))
    assert (found[0].text if found else None) == first


def test_a_container_that_never_ran_has_no_log(tmp_path: Path) -> None:
    assert list(logs.read(f"{tmp_path}/none", None, every)) == []


def test_dockers_json_is_read_too(tmp_path: Path) -> None:
    entries = [("a\n", "stdout"), ("half", "stderr"), (" é\n", "stderr"), ("open", "stdout")]
    lines = [json.dumps({"log": text, "stream": stream, "time": "2026-01-01T00:00:00.1Z"})
             for text, stream in entries]  # fmt: skip
    (tmp_path / "log").write_text("\n".join([*lines, '{"log": "torn']))
    assert texts(logs.read(f"{tmp_path}/log", None, every)) == [
        ("stdout", b"a", False), ("stderr", "half é".encode(), False), ("stdout", b"open", True),
    ]  # fmt: skip


def test_rotated_files_are_one_log(path: str) -> None:
    for place, text in (("1", b"P mid"), ("2", b"F old")):
        Path(f"{path}.{place}").write_bytes(b"2025-01-01T00:00:00Z stdout " + text + b"\n")
    assert [line.text for line in logs.read(path, None, every)][:3] == [b"old", b"midone", b"two"]


def test_a_log_goes_on_over_rotations(path: str) -> None:
    log = logs.Log(path)
    assert [line.text for line in log.lines()][-1] == b"last"
    for turn in range(1, 4):  # three between two looks
        for old in (2, 1):
            if os.path.exists(f"{path}.{old}"):
                os.rename(f"{path}.{old}", f"{path}.{old + 1}")
        with open(path, "ab") as file:
            file.write(b"2026-01-01T00:00:01Z stdout F end %d\n" % turn)
        os.rename(path, f"{path}.1")
        Path(path).write_bytes(b"2026-01-01T00:00:01Z stdout F begin %d\n" % turn)
    assert [line.text.decode() for line in log.lines()] == [
        "end 1", "begin 1", "end 2", "begin 2", "end 3", "begin 3",
    ]  # fmt: skip
    log.close()


def test_a_line_without_an_end_is_given_once(path: str) -> None:
    log = logs.Log(path)
    assert len(list(log.lines())) == 4
    with open(path, "ab") as file:
        file.write(b"2026-01-01T00:00:01Z stdout P login: \n")
    assert list(log.lines()) == []
    assert [(line.text, line.continued) for line in log.unfinished()] == [(b"login: ", False)]
    assert list(log.unfinished()) == []
    with open(path, "ab") as file:
        file.write(b"2026-01-01T00:00:02Z stdout F me\n")
    assert [(line.text, line.continued) for line in log.lines()] == [(b"me", True)]
    log.close()


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
