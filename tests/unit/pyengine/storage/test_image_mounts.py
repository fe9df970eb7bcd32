from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyengine.database.connection import Database
from pyengine.errors import NotFoundError
from pyengine.storage.store import Storage


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_an_image_that_was_removed_meanwhile_is_not_mounted(tmp_path: Path, driver: str) -> None:
    database = Database(str(tmp_path))
    mounts = Storage(str(tmp_path), database, driver).image_mounts
    with pytest.raises(NotFoundError, match="removed meanwhile"):
        mounts.mount("ab" * 32, [])
    assert mounts.mounted() == {}
    assert os.listdir(tmp_path / "staging") == []
    with database.read() as connection:
        assert connection.execute("SELECT * FROM intents").fetchall() == []
