from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyengine.database.connection import Database
from pyengine.events.log import Events
from pyengine.images import checking
from pyengine.images.store import Images
from pyengine.storage import verifying
from pyengine.storage.store import Storage

DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture
def store(tmp_path: Path) -> Images:
    database = Database(str(tmp_path))
    storage = Storage(str(tmp_path), database, "vfs")
    with database.write() as connection:
        connection.execute("INSERT INTO blobs VALUES (?, 1, '')", (DIGEST,))
    return Images(database, storage, Events.__new__(Events))


@pytest.mark.parametrize(("answers", "count"), [(["gone", ""], 0), (["gone", "gone"], 1)])
def test_a_blob_that_came_back_between_two_looks_is_not_damaged(
    store: Images, monkeypatch: pytest.MonkeyPatch, answers: list[str], count: int
) -> None:
    looks: Iterator[str] = iter(answers)
    monkeypatch.setattr(verifying, "blob_problem", lambda *_, **__: next(looks))
    found = [one.problem for one in checking.check(store, quick=True) if one.kind == "blob"]
    assert found == ["gone"] * count


def test_a_container_that_went_while_the_check_looked_is_no_orphan(
    store: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "containers/new"
    made.mkdir()
    assert [one.object for one in checking.check(store) if one.kind == "orphan"] == [
        "containers/new"
    ]
    known = checking._is_accounted_for

    def meanwhile(*arguments: object) -> bool:
        if made.exists():
            made.rmdir()
        return known(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(checking, "_is_accounted_for", meanwhile)
    assert [one for one in checking.check(store) if one.kind == "orphan"] == []
