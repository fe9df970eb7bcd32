from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pyengine.database.connection import Database
from pyengine.storage import overlay
from pyengine.storage.store import Storage

FUSE = "/usr/bin/fuse-overlayfs"


@pytest.mark.parametrize(
    ("working", "driver", "program"),
    [
        ({"", FUSE}, "overlay", ""),
        ({FUSE}, "overlay", FUSE),
        (set(), "vfs", ""),
    ],
)
def test_the_best_that_works_is_found_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    working: set[str],
    driver: str,
    program: str,
) -> None:
    tried: list[str] = []

    def works(_: str, mount_program: str = "") -> bool:
        tried.append(mount_program)
        return mount_program in working

    monkeypatch.setattr(overlay, "works", works)
    monkeypatch.setattr(shutil, "which", lambda _: FUSE)
    database = Database(str(tmp_path))
    for _ in range(2):
        storage = Storage(str(tmp_path), database, None)
        assert (storage.driver, storage.mount_program) == (driver, program)
    assert tried == ["", FUSE][: 1 if "" in working else 2]


def test_a_configured_program_is_remembered(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    assert Storage(str(tmp_path), database, "overlay", FUSE).mount_program == FUSE
    assert Storage(str(tmp_path), database, "overlay").mount_program == FUSE
