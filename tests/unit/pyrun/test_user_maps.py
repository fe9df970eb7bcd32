"""The user namespace and the mappings that config.json leaves out."""

from __future__ import annotations

import posix
from pathlib import Path
from typing import Any

import pytest

from pyrun.container import user_maps
from pyrun.errors import ContainerError


@pytest.fixture(autouse=True)
def caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who has no name."""
    monkeypatch.setattr(posix, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(posix, "getegid", lambda: 4_000_001)


def completed(linux: dict[str, Any], monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, Any]:
    monkeypatch.setattr(user_maps, "_read", lambda _path: text)
    user_maps.complete({"linux": linux})
    return linux


def test_an_ordinary_user_gets_a_user_namespace_with_the_subordinate_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linux = completed({"namespaces": []}, monkeypatch, "other:1:2\n4000000:70000:300\n")
    assert linux["namespaces"] == [{"type": "user"}]
    assert linux["uidMappings"] == [
        {"containerID": 0, "hostID": 4_000_000, "size": 1},
        {"containerID": 1, "hostID": 70_000, "size": 300},
    ]
    assert linux["gidMappings"][0]["hostID"] == 4_000_001


def test_mappings_that_are_given_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [{"containerID": 0, "hostID": 7, "size": 1}]
    linux = {"namespaces": [{"type": "user"}], "uidMappings": given}
    assert completed(linux, monkeypatch, "4000000:x:1\n4000000:5:0")["uidMappings"] is given
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 4_000_001, "size": 1}]


@pytest.mark.parametrize(
    "linux", [[], {"namespaces": 1}, {"namespaces": [{"type": "user", "path": "/x"}]}]
)
def test_what_is_not_valid_or_joined_is_left_alone(linux: Any) -> None:
    before = repr(linux)
    user_maps.complete({"linux": linux})
    assert repr(linux) == before


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContainerError, match="file/subuid: Not a directory"):
        user_maps._read(str(tmp_path / "file/subuid"))
    assert user_maps._read(str(tmp_path / "none")) == ""
