"""pyrun.names says what ``os`` and ``os.path`` say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyrun import names

PATHS = ["/", "a", "/a", "a/b", "/a/b/", "//a", "/a//b", ".", "..", "/..", "../a", "a/../../b", ""]


@pytest.mark.parametrize("path", PATHS)
def test_the_parts_of_a_path_are_those_of_os_path(path: str) -> None:
    assert names.basename(path) == os.path.basename(path)
    assert names.dirname(path.replace("//", "/")) == os.path.dirname(path.replace("//", "/"))
    assert names.normal(path) == os.path.normpath(path).replace("//", "/")
    assert names.absolute(path) == os.path.abspath(path).replace("//", "/")


@pytest.mark.parametrize(
    ("directory", "path"), [("/a", "b"), ("/a/", "b/c"), ("/a", "/b"), (".", "b")]
)
def test_an_absolute_path_is_not_joined(directory: str, path: str) -> None:
    assert names.join(directory, path) == os.path.join(directory, path)


def test_names_that_are_not_text_survive() -> None:
    assert names.encode("é\udcff") == os.fsencode("é\udcff")
    assert names.decode(b"\xc3\xa9\xff") == os.fsdecode(b"\xc3\xa9\xff")


def test_a_path_is_looked_up_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "dead").symlink_to("nothing")
    found = [
        (names.exists(f"{tmp_path}/{name}"), names.is_dir(f"{tmp_path}/{name}"))
        for name in ("link", "here", "dead", "nul\0")
    ]
    assert found == [(True, False), (True, True), (False, False), (False, False)]
    for name in ("link", "here/link", "here", "missing"):
        path = f"{tmp_path}/{name}"
        assert names.real(path) == os.path.realpath(path)


def test_directories_are_made_once(tmp_path: Path) -> None:
    path = f"{tmp_path}/a/b/c"
    names.make_directories(path, 0o700)
    names.make_directories(path, 0o700)
    assert os.stat(path).st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        names.make_directories(f"{tmp_path}/file", 0o700)
    with pytest.raises(FileNotFoundError):
        names.make_directories("/proc/no/such", 0o700)


def test_a_variable_that_is_not_set_is_empty() -> None:
    assert names.environment("PATH") == os.environ["PATH"]
    assert names.environment("PYRUN_HAS_NO_SUCH_VARIABLE") == ""
