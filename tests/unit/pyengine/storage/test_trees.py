from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pyengine.storage import trees


def test_a_deep_tree_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(500):  # far deeper than one pass goes, and longer than PATH_MAX
        os.mkdir("directory", dir_fd=fd)
        below = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    trees.remove_tree(str(top))
    assert not top.exists()


def test_a_symbolic_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to(tmp_path / "kept")
    (tmp_path / "other").symlink_to(tmp_path / "kept")
    trees.remove_tree(str(tmp_path / "top"))
    trees.remove_tree(str(tmp_path / "other"))
    trees.remove_tree(str(tmp_path / "missing"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept/file").exists()


def test_two_processes_may_remove_the_same_tree(tmp_path: Path) -> None:
    for round_ in range(5):
        top = tmp_path / str(round_)
        for number in range(100):
            (top / str(number) / "below").mkdir(parents=True)
            (top / str(number) / "file").touch()
        go_read, go_write = os.pipe()
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                os.close(go_write)
                os.read(go_read, 1)  # both begin when the other end is closed
                try:
                    trees.remove_tree(str(top))
                except OSError:
                    os._exit(1)
                os._exit(0)
            children.append(child)
        os.close(go_write)
        os.close(go_read)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert statuses == [0, 0]
        assert not top.exists()


def test_a_file_that_comes_late_is_removed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top" / "below").mkdir(parents=True)
    late = [tmp_path / "top" / "below" / "late", tmp_path / "top" / "last"]
    rmdir = os.rmdir

    def write_first(name: str, *, dir_fd: int | None = None) -> None:
        if late:
            late.pop(0).touch()
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", write_first)
    trees.remove_tree(str(tmp_path / "top"))
    assert (late, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.needs("root")
def test_stacked_layers_look_as_overlay_shows_them(tmp_path: Path) -> None:
    lower, upper, target = tmp_path / "lower", tmp_path / "upper", tmp_path / "target"
    for name in ("gone", "opaque", "merged", "becomes-file"):
        (lower / name).mkdir(parents=True)
        (lower / name / "old").write_text("old")
    (lower / "file").write_text("lower")
    (lower / "same").hardlink_to(lower / "file")
    (lower / "special").write_text("x")
    os.chown(lower / "special", 12, 34)
    (lower / "special").chmod(0o4755)
    os.utime(lower / "special", ns=(1, 1_000_000_007))
    upper.mkdir()
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    (upper / "opaque").mkdir()
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    (upper / "merged").mkdir()
    (upper / "merged/new").write_text("new")
    (upper / "becomes-file").write_text("file")
    (upper / "link").symlink_to("/etc/passwd")
    target.mkdir()
    trees.stack_layers([str(lower), str(upper)], str(target))
    assert sorted(os.listdir(target)) == [
        "becomes-file", "file", "link", "merged", "opaque", "same", "special",
    ]  # fmt: skip
    assert sorted(os.listdir(target / "merged")) == ["new", "old"]
    assert os.listdir(target / "opaque") == []
    assert (target / "becomes-file").read_text() == "file"
    assert os.readlink(target / "link") == "/etc/passwd"
    assert (target / "file").stat().st_ino == (target / "same").stat().st_ino
    special = (target / "special").stat()
    assert (special.st_uid, special.st_gid, special.st_mode & 0o7777) == (12, 34, 0o4755)
    assert special.st_mtime_ns == 1_000_000_007
