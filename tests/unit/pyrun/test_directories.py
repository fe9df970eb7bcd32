"""The directories of containers and their locks."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from pyrun.container import directories, store
from pyrun.errors import ContainerError


def lock(path: Path, how: int) -> int:
    path.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, how)
    return fd


def test_an_id_that_somebody_works_on_is_in_use(tmp_path: Path) -> None:
    fd = lock(tmp_path / "one", fcntl.LOCK_EX)
    with pytest.raises(ContainerError, match="exists already"):
        directories.reserve(str(tmp_path), "one")
    os.close(fd)


def test_whoever_only_asks_for_the_lock_does_not_keep_an_id_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``state`` and ``delete`` ask by a shared lock, which is there for a moment."""
    asking = [lock(tmp_path / "one", fcntl.LOCK_SH)]
    ask = store.is_locked

    def ask_and_leave(entry: store.Entry) -> bool:
        answer = ask(entry)
        while asking:
            os.close(asking.pop())
        return answer

    monkeypatch.setattr(store, "is_locked", ask_and_leave)
    entry = directories.reserve(str(tmp_path), "one")
    assert entry.lock_fd >= 0
    entry.unlock()


def test_only_directories_are_containers(tmp_path: Path) -> None:
    for name in ("b-2", "a-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert directories.identifiers(str(tmp_path)) == ["a-1", "b-2"]
    assert directories.matching(str(tmp_path), "^b") == ["b-2"]
    assert directories.identifiers(str(tmp_path / "none")) == []
    with pytest.raises(ContainerError, match="is no regular expression"):
        directories.matching(str(tmp_path), "(")
