"""Trees of cgroups of any depth; plain directories stand for them where the kernel's are slow."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pyrun import names
from pyrun.errors import KernelError
from pyrun.linux.cgroups import manager, trees

DEPTH = 1100  # more than Python's stack of calls has room for
LONG = "n" * 200


def make(top: Path, depth: int, name: str) -> None:
    """Directories that no absolute path may reach, with as many files as cgroups have."""
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for number in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        with open(os.open("cgroup.procs", os.O_CREAT | os.O_RDWR, dir_fd=fd), "w") as file:
            file.write(f"{number + 1}\n")
    os.close(fd)


def test_processes_are_found_however_deep_they_are(tmp_path: Path) -> None:
    make(tmp_path / "top", DEPTH, LONG)
    try:
        assert trees.procs(str(tmp_path / "top")) == set(range(1, DEPTH + 1))
        assert trees.procs(str(tmp_path / "none")) == set()
        assert trees.move_beside(str(tmp_path / "top"), 7777, DEPTH)
        assert not trees.move_beside(str(tmp_path / "top"), 7777, DEPTH + 1)
        assert trees.procs(str(tmp_path / "top")) == {7777, *range(1, DEPTH)}
    finally:
        for above_fd, name in trees.walk(str(tmp_path / "top")):
            os.unlink(f"{name}/cgroup.procs", dir_fd=above_fd)
            os.rmdir(name, dir_fd=above_fd)


def test_a_tree_is_removed_from_its_leaves_on(tmp_path: Path) -> None:
    for path in ("a/b/c", "a/d", "e"):
        (tmp_path / "top" / path).mkdir(parents=True)
    found = [name for _, name in trees.walk(str(tmp_path / "top"))]
    assert sorted(found) == ["a", "b", "c", "d", "e"]
    assert found.index("c") < found.index("b") < found.index("a")
    for above_fd, name in trees.walk(str(tmp_path / "top")):
        os.rmdir(name, dir_fd=above_fd)
    trees.remove(str(tmp_path / "top"), time.monotonic())
    assert list(tmp_path.iterdir()) == []
    trees.remove(str(tmp_path / "top"), time.monotonic())  # gone: nothing to do


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match=f"remove cgroup {tmp_path}"):
        trees.remove(str(tmp_path), time.monotonic())


def test_directories_are_made_at_any_depth(tmp_path: Path) -> None:
    deep = f"{tmp_path}{'/d' * DEPTH}"
    made: list[str] = []
    manager.make_directories(deep, made)
    assert (len(made), made[0], made[-1]) == (DEPTH, f"{tmp_path}/d", deep)
    manager.make_directories(deep, made)
    assert len(made) == DEPTH
    for path in reversed(made):
        os.rmdir(path)
    names.make_directories(deep, 0o700)
    assert Path(deep).stat().st_mode & 0o777 == 0o700
    for path in reversed(made):
        os.rmdir(path)


def test_a_directory_that_nobody_can_make_is_an_error_and_no_endless_try() -> None:
    with pytest.raises(FileNotFoundError):
        names.make_directories("/proc/self/none", 0o700)
    with pytest.raises(FileNotFoundError):
        manager.make_directories("/proc/self/none", [])
