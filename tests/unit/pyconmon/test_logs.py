from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from pyconmon import logs, options
from pyconmon.errors import MonitorError

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d "


def open_log(path: Path, *more: str) -> logs.Logs:
    return logs.open_drivers(options.parse(["-c", "x", "-l", f"k8s-file:{path}", *more]))


def texts(path: Path) -> list[str]:
    """The lines without their time stamps."""
    lines = path.read_text().splitlines()
    assert all(re.match(STAMP, line) for line in lines), lines
    return [re.sub(STAMP, "", line, count=1) for line in lines]


def test_a_line_is_full_and_a_rest_is_partial(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.write(logs.STDOUT, b"one\n\ntwo\nrest")
    log.write(logs.STDERR, b" of it\n")
    assert texts(tmp_path / "log") == [
        "stdout F one", "stdout F ", "stdout F two", "stdout P rest", "stderr F  of it",
    ]  # fmt: skip


def test_long_lines_are_cut_where_conmon_stops_reading(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.write(logs.STDOUT, b"a" * 20000 + b"\nb\n")
    assert [len(text) for text in texts(tmp_path / "log")] == [
        9 + 8192, 9 + 8192, 9 + 20000 - 2 * 8192, 10,
    ]  # fmt: skip
    assert [text[7] for text in texts(tmp_path / "log")] == ["P", "P", "F", "F"]


def test_carriage_returns_and_other_bytes_pass_unchanged(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    data = bytes(range(256)).replace(b"\n", b"") + b"\r\n"
    log.write(logs.STDOUT, data)
    assert (tmp_path / "log").read_bytes().partition(b" F ")[2] == data


def test_an_existing_log_is_continued(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        open_log(tmp_path / "log").write(logs.STDOUT, text)
    assert texts(tmp_path / "log") == ["stdout F one", "stdout F two"]


def test_a_full_log_is_replaced_by_an_empty_one(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", "--log-size-max", "100")
    log.write(logs.STDOUT, b"one\ntwo\nthree\n")
    assert texts(tmp_path / "log") == ["stdout F three"]
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_rotation_keeps_the_lines_of_each_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = open_log(path, "--log-size-max", "100", "--log-rotate", "--log-max-files", "2")
    log.write(logs.STDOUT, b"".join(b"%d\n" % number for number in range(10)))
    assert texts(path) == ["stdout F 8", "stdout F 9"]
    assert texts(Path(f"{path}.1")) == ["stdout F 6", "stdout F 7"]
    assert texts(Path(f"{path}.2")) == ["stdout F 4", "stdout F 5"]
    assert not Path(f"{path}.3").exists()


def test_the_global_limit_ends_the_log(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", "--log-global-size-max", "60")
    log.write(logs.STDOUT, b"one\ntwo\nthree\n")
    log.write(logs.STDOUT, b"four\n")
    assert texts(tmp_path / "log") == ["stdout F one", "stdout F two"]


def test_reopen_follows_a_log_that_was_renamed(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.write(logs.STDOUT, b"one\n")
    (tmp_path / "log").rename(tmp_path / "old")
    log.reopen()
    log.write(logs.STDOUT, b"two\n")
    assert texts(tmp_path / "old") == ["stdout F one"]
    assert texts(tmp_path / "log") == ["stdout F two"]


def test_reopen_that_fails_goes_on_with_the_old_file(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    log = open_log(directory / "log")
    directory.rename(tmp_path / "moved")
    log.reopen()
    log.write(logs.STDOUT, b"one\n")
    assert texts(tmp_path / "moved/log") == ["stdout F one"]


def test_a_write_that_was_cut_does_not_spoil_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path / "log")
    real_write = os.write
    calls = []

    def full_disk(fd: int, pieces: list[bytes]) -> int:
        text = b"".join(pieces)
        calls.append(text)
        if len(calls) == 1:
            return real_write(fd, text[:-3])
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real_write(fd, text)

    monkeypatch.setattr("pyconmon.logs.posix.writev", full_disk)
    monkeypatch.setattr("pyconmon.diagnostics.level", -1)
    log.write(logs.STDOUT, b"lost\n")
    log.write(logs.STDOUT, b"kept\n")
    assert texts(tmp_path / "log") == ["stdout F lo", "stdout F kept"]


def test_several_drivers_get_the_same(tmp_path: Path) -> None:
    given = ["-c", "x", "-l", f"{tmp_path}/a", "-l", f":{tmp_path}/b", "-l", "none"]
    logs.open_drivers(options.parse(given)).write(logs.STDOUT, b"x\n")
    assert texts(tmp_path / "a") == texts(tmp_path / "b") == ["stdout F x"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Log driver not provided. Use --log-path"),
        (["-l", ""], "log-path must not be empty"),
        (["-l", "::"], "log-path must not be empty"),
        (["-l", "k8s-file"], "k8s-file requires a filename"),
        (["-l", "k8s-file:"], "k8s-file requires a filename"),
        (["-l", "fluentd:x"], "No such log driver fluentd"),
        (["-l", "/nowhere/log"], "Failed to open log file /nowhere/log: No such file or directory"),
        (["-l", "/dev/null", "--log-tag", "t"], "k8s-file and json-file don't support --log-tag"),
        (
            ["-l", "/dev/null", "--log-label", "A=b"],
            "k8s-file and json-file don't support --log-label",
        ),
        (["-l", "journald"], "Container ID must be longer than 12 characters"),
    ],
)
def test_a_log_that_cannot_be_kept_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(MonitorError) as caught:
        logs.open_drivers(options.parse(["-c", "x", *arguments]))
    assert str(caught.value) == message


def test_passthrough_opens_nothing() -> None:
    given = options.parse(["-c", "x", "-l", "passthrough"])
    assert logs.open_drivers(given).passthrough


def json_lines(path: Path) -> list[tuple[str, str]]:
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.\d{9}Z", entry["time"]) for entry in entries)
    return [(entry["stream"], entry["log"]) for entry in entries]


def open_json(path: Path, *more: str) -> logs.Logs:
    return logs.open_drivers(options.parse(["-c", "x", "-l", f"json-file:{path}", *more]))


def test_json_file_writes_lines_as_docker_does(tmp_path: Path) -> None:
    log = open_json(tmp_path / "log")
    log.write(logs.STDOUT, 'one "quoted"\n\u20ac'.encode()[:-1])
    log.write(logs.STDERR, b"err\n")
    log.write(logs.STDOUT, b"\xac\nrest")
    log.finish(sync=True)
    assert json_lines(tmp_path / "log") == [
        ("stdout", 'one "quoted"\n'), ("stderr", "err\n"), ("stdout", "\u20ac\n"),
        ("stdout", "rest"),
    ]  # fmt: skip


def test_json_file_cuts_a_line_that_is_too_long(tmp_path: Path) -> None:
    log = open_json(tmp_path / "log")
    log.write(logs.STDOUT, b"a" * 40000)
    log.write(logs.STDOUT, b"b\n")
    assert [len(text) for _, text in json_lines(tmp_path / "log")] == [16384, 16384, 7234]


def test_json_file_is_rotated_between_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = open_json(path, "--log-size-max", "200", "--log-rotate", "--log-max-files", "2")
    log.write(logs.STDOUT, b"".join(b"%d\n" % number for number in range(9)))
    kept = [text for name in ("log.2", "log.1", "log") for _, text in json_lines(tmp_path / name)]
    assert kept == [f"{number}\n" for number in range(4, 9)]


def test_json_file_needs_a_path() -> None:
    with pytest.raises(MonitorError, match="json-file requires a filename"):
        logs.open_drivers(options.parse(["-c", "x", "-l", "json-file"]))


def test_a_log_may_be_confined_to_directories(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "in-side"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    allowed = ("--log-allowlist-dir", "/nowhere/else", "--log-allowlist-dir", str(inside))
    with pytest.raises(MonitorError, match="Failed to open log directory /nowhere/else"):
        open_log(inside / "log", *allowed)
    open_log(inside / "deep/log", *allowed[2:]).write(logs.STDOUT, b"x\n")
    assert texts(inside / "deep/log") == ["stdout F x"]
    for path in (outside / "log", inside / "link/log", inside / "../log"):
        with pytest.raises(MonitorError, match="none of the allowed directories"):
            open_log(path, *allowed[2:])
    (inside / "log").symlink_to(outside / "log")
    with pytest.raises(MonitorError, match="Failed to open log file"):
        open_log(inside / "log", *allowed[2:])
    assert not (outside / "log").exists()
