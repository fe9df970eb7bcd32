"""The events of the same commands in podman's file and in pyengine's, object by object."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from support import side_by_side
from support.containers import IMAGE
from support.side_by_side import NONE, run, step
from support.waiting import wait_for

pytestmark = [
    side_by_side.NEEDS,
    pytest.mark.timeout(400),  # all steps are played before the first test
]

Events = list[dict[str, Any]]

SLEEP = (IMAGE, "sleep", "1000")
STEPS = [
    step("load", "-q", "-i", "{archive}"),
    step("tag", IMAGE, "localhost/other:2"),
    step("untag", IMAGE, "localhost/other:2"),
    step("create", *NONE, "--name", "one", "--label", "k=v", *SLEEP),
    step("init", "one"),
    step("start", "one"),
    step("exec", "one", "sh", "-c", "exit 3"),
    step("pause", "one"),
    step("unpause", "one"),
    step("kill", "-s", "CONT", "one"),
    step("rename", "one", "two"),
    step("commit", "-q", "two", "localhost/made:1"),
    step("cp", "/etc/passwd", "two:/tmp/x"),
    step("top", "two"),
    step("kill", "two"),
    step("wait", "two"),
    step("start", "two"),
    step("restart", "-t", "0", "two"),
    step("container", "clone", "two", "copied"),
    step("rm", "copied"),
    step("rm", "-f", "-t", "0", "two"),
    run("--rm", "--name", "short", IMAGE, "true"),
    run("--name", "failed", IMAGE, "sh", "-c", "exit 3"),
    step("start", "-a", "failed"),
    run("--name", "nosuch", IMAGE, "nosuch"),
    step("container", "prune", "-f"),
    step("volume", "create", "mine"),
    step("volume", "prune", "-f"),
    run("--rm", "--name", "filled", "-v", "yours:/y", IMAGE, "true"),
    step("volume", "rm", "yours"),
    run("-d", "--name", "checked", "--health-cmd", "true", "--health-interval", "disable", *SLEEP),
    step("healthcheck", "run", "checked"),
    step("rm", "-f", "-t", "0", "checked"),
    step("image", "prune", "-af"),
]
# What podman 4.3.1 does not tell, or tells sometimes, and 5 does tell.
UNSTEADY = {
    ("container", "cleanup"): "whether its rm and its monitor both come to it is a race",
    ("container", "stop"): "not told where the monitor was quicker",
    ("image", "pull"): "told for each run of an image that is there",
    ("system", "refresh"): "its own bookkeeping",
}


@pytest.fixture(scope="module")
def told(
    pyengine_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Events, Events]]:
    with contextlib.closing(side_by_side.Engines(pyengine_path, tmp_path_factory)) as engines:
        engines.play(STEPS)
        paths = [engines.directory / f"{root}/events/events.log" for root in ("tmp", "root")]
        wait_for(lambda: all(_read(path)[-1]["Type"] == "image" for path in paths), "the last one")
        yield _read(paths[0]), _read(paths[1])


def _read(path: Path) -> Events:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _steps(events: Events) -> dict[str, list[str]]:
    """What happened to each object, by its type and name; twice in a row is once."""
    found: dict[str, list[str]] = {}
    for one in events:
        if (one["Type"], one["Status"]) not in UNSTEADY:
            name = one.get("Name") or "unnamed"  # podman names no image by what it had
            name = "any" if one["Type"] == "image" and one["Status"] == "remove" else name
            found.setdefault(f"{one['Type']} {name}", []).append(one["Status"])
    return {name: [status for status, _ in groupby(steps)] for name, steps in found.items()}


def test_the_same_happens_to_each_object(told: tuple[Events, Events]) -> None:
    theirs, ours = map(_steps, told)
    theirs["container checked"].remove("exec_died")  # of the check, whose exec it does not tell
    assert ours == theirs


def test_no_step_is_told_twice(told: tuple[Events, Events]) -> None:
    _, ours = told
    kept = [(one.get("ID"), one["Status"], one.get("Name")) for one in ours]
    assert [before for before, after in pairwise(kept) if before == after] == []


@pytest.mark.parametrize("status", ["create", "start", "kill", "health_status", "tag", "prune"])
def test_an_event_has_the_same_fields(status: str, told: tuple[Events, Events]) -> None:
    theirs, ours = (next(one for one in events if one["Status"] == status) for events in told)
    assert set(ours) == set(theirs)
    other = {"ID", "Time", "health_status"}  # podman's check counts only from the second one on
    assert {key: ours[key] for key in ours.keys() - other} == {
        key: theirs[key] for key in theirs.keys() - other
    }
