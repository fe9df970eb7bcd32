"""The events file: what is written, rotated, torn and followed."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from pyengine.errors import ConfigError
from pyengine.events.filters import matcher
from pyengine.events.log import Events, rotated
from pyengine.events.reading import Reader


def statuses(reader: Reader) -> list[str]:
    return [event["Status"] for event in reader.new()]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"{tmp_path}/events/events.log"


def test_an_event_has_podmans_keys(path: str) -> None:
    Events(path).tell(
        "container", "died", "cleanup", id_="f00", name="web", image="box:1", exit_code=3,
        attributes={"k": "v"},
    )  # fmt: skip
    died, cleanup = Reader(path).new()
    assert died.pop("Time").endswith("Z")
    assert died == {
        "ID": "f00", "Name": "web", "Image": "box:1", "ContainerExitCode": 3, "Status": "died",
        "Type": "container", "Attributes": {"k": "v"},
    }  # fmt: skip
    assert "ContainerExitCode" not in cleanup


def test_the_backend_none_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Events("").tell("system", "prune")
    assert list(tmp_path.iterdir()) == []


def test_a_torn_line_costs_no_event_but_its_own(path: str) -> None:
    events = Events(path)
    events.tell("system", "one")
    with open(path, "a") as file:
        file.write('{"Status": "torn", "Ty')
    events.tell("system", "two")
    assert statuses(Reader(path)) == ["one", "two"]


def test_a_full_disk_stops_no_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    Events(f"{tmp_path}/log").tell("system", "lost")
    assert "write event to" in capsys.readouterr().err


def test_two_files_bound_the_size_and_are_read_as_one(path: str) -> None:
    events = Events(path, limit_bytes=1000)
    for number in range(30):
        events.tell("system", f"s{number}")
    assert os.path.getsize(path) < 1100
    assert os.path.getsize(rotated(path)) < 1100
    found = statuses(Reader(path))
    assert found == [f"s{number}" for number in range(30 - len(found), 30)]
    assert len(found) >= 10


def test_a_follower_loses_nothing_over_rotations(path: str) -> None:
    events = Events(path, limit_bytes=500)
    reader = Reader(path)
    seen = []
    for number in range(40):
        events.tell("system", f"s{number}")
        if number % 3 == 0:
            seen += statuses(reader)
    reader.wait(None)
    assert seen + statuses(reader) == [f"s{number}" for number in range(40)]
    reader.close()


def test_a_late_writer_of_the_rotated_file_is_still_read(path: str) -> None:
    Events(path).tell("system", "one")
    reader = Reader(path)
    with open(path, "ab") as late:
        os.rename(path, rotated(path))
        Events(path).tell("system", "two")
        assert statuses(reader) == ["one", "two"]
        late.write(b'{"Status": "late", "Type": "system"}\n')
    assert statuses(reader) == ["late"]


def _write_many(path: str, mark: str) -> None:
    events = Events(path, limit_bytes=50_000)
    for number in range(100):
        events.tell("system", f"{mark}{number}", name="x" * 100)


def test_writers_of_several_processes_keep_each_line_whole(path: str) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(path, mark)) for mark in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = statuses(Reader(path))
    assert sorted(found) == sorted(f"{mark}{n}" for mark in "abc" for n in range(100))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("event=die",), True),
        (("event=start", "event=died"), True),
        (("event=start",), False),
        (("container=web", "event=died"), True),
        (("container=f0",), True),
        (("container=we",), False),
        (("image=web",), False),
        (("label=k",), True),
        (("label=k=v",), True),
        (("label=k=w",), False),
        (("type=container",), True),
        (("type=image",), False),
    ],
)
def test_filters_of_one_key_are_alternatives(texts: tuple[str, ...], expected: bool) -> None:
    event = {"ID": "f00d", "Name": "web", "Status": "died", "Type": "container",
             "Attributes": {"k": "v"}}  # fmt: skip
    assert matcher(texts)(event) is expected


@pytest.mark.parametrize("text", ["event", "event=", "bogus=1", "type=bogus"])
def test_a_filter_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--filter"):
        matcher((text,))
