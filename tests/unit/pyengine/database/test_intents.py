from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from pyengine.database.connection import Database
from pyengine.database.intents import Intent


def begin_and_die(root: Path, *objects: str) -> None:
    """A process that writes intents and is gone."""
    child = os.fork()
    if child == 0:
        database = Database(str(root))
        for name in objects:
            database.intents.begin("add", name, {"step": 1})
        os._exit(0)
    os.waitpid(child, 0)


def rows(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute("SELECT count(*) FROM intents").fetchone()[0])


def test_a_living_owner_is_left_alone(tmp_path: Path) -> None:
    owner, other = Database(str(tmp_path)), Database(str(tmp_path))
    owner.intents.begin("add", "a", {})
    assert owner.intents.take_dead() == []
    assert other.intents.take_dead() == []


def test_a_dead_owners_intents_are_taken_once_and_by_one(tmp_path: Path) -> None:
    begin_and_die(tmp_path, "a", "b")
    first, second = Database(str(tmp_path)), Database(str(tmp_path))
    taken = first.intents.take_dead()
    assert [(intent.kind, intent.object, intent.data) for intent in taken] == [
        ("add", "a", {"step": 1}),
        ("add", "b", {"step": 1}),
    ]
    assert second.intents.take_dead() == []
    for intent in taken:
        intent.finish()
    assert first.intents.take_dead() == second.intents.take_dead() == []
    assert [name for name in os.listdir(tmp_path / "locks") if name.startswith("owner-")] == []


def test_a_failing_block_is_rolled_back_and_forgotten(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    undone: list[str] = []

    def roll_back(intent: Intent) -> None:
        undone.append(intent.object)

    with (
        pytest.raises(ValueError, match="first"),
        database.intents.running("add", "a", {}, roll_back),
    ):
        raise ValueError("first")
    assert undone == ["a"]
    assert rows(database) == 0


def test_a_failing_roll_back_keeps_the_intent_and_the_first_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database(str(tmp_path))

    def roll_back(intent: Intent) -> None:
        raise OSError(f"cannot undo {intent.object}")

    with (
        pytest.raises(ValueError, match="first"),
        database.intents.running("add", "a", {}, roll_back),
    ):
        raise ValueError("first")
    assert rows(database) == 1
    assert "roll back add of a: cannot undo a" in capsys.readouterr().err


def test_a_result_and_the_end_of_its_intent_are_one_transaction(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    intent = database.intents.begin("add", "a", {})
    with contextlib.suppress(RuntimeError), database.write() as connection:
        intent.finish(connection)
        raise RuntimeError
    assert rows(database) == 1
