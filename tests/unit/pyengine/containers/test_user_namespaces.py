from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyengine.containers import user_namespaces
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError, StorageError
from pyengine.storage.idmapped import to_host
from support.configured import configured


class NoHost:
    """No container is looked at."""


def chosen(**given: object) -> list[list[list[int]]]:
    config = configured("--name x")
    options = ContainerOptions("image", **given)
    user_namespaces.configure(NoHost(), config, options)  # type: ignore[arg-type]  # not used here
    return config["id_maps"]


def test_one_map_stands_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(user_namespaces, "_is_whole_host", lambda: True)
    line = [[0, 1000, 10], [10, 5000, 1]]
    assert chosen(uidmap=("0:1000:10", "10:5000")) == [line, line]
    assert chosen(gidmap=("0:7:1",), uidmap=("0:1:1",)) == [[[0, 1, 1]], [[0, 7, 1]]]
    assert chosen(userns="host") == []


def test_subordinate_ids_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(user_namespaces, "_is_whole_host", lambda: True)
    path = tmp_path / "subuid"
    path.write_text("# none\nother:1:2\nbox:1000:10\nbox:5000:5\n")
    monkeypatch.setattr(user_namespaces, "SUBUID", str(path))
    monkeypatch.setattr(user_namespaces, "SUBGID", str(path))
    line = [[0, 1000, 10], [10, 5000, 5]]
    assert chosen(subuidname="box") == [line, line]
    with pytest.raises(ConfigError, match='subordinate ids of user "nobody"'):
        chosen(subuidname="nobody")


def test_auto_takes_what_no_other_container_has() -> None:
    ranges = [[1000, 100], [5000, 100]]
    assert user_namespaces.free_range(ranges, [], 50) == 1000
    assert user_namespaces.free_range(ranges, [[0, 1000, 30]], 50) == 1030
    assert user_namespaces.free_range(ranges, [[0, 1060, 10], [0, 1000, 20]], 50) == 5000
    assert user_namespaces.free_range(ranges, [[0, 1060, 10], [0, 1000, 20]], 40) == 1020
    with pytest.raises(ConfigError, match="could not find enough available IDs"):
        user_namespaces.free_range(ranges, [[0, 1010, 5]], 101)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"uidmap": ("0:1",), "userns": "auto"}, "exclude each other"),
        ({"uidmap": ("a:b",)}, "must be INSIDE:HOST[:COUNT]"),
        ({"uidmap": ("0:4294967295:9",)}, "ids must be below"),
        ({"uidmap": ("1:1:1",)}, "the container's root has no user of the host"),
        ({"uidmap": ("0:1:5", "4:100:5")}, "the maps of user ids overlap"),
        ({"uidmap": ("0:1:5", "5:3:5")}, "the maps of user ids overlap"),
        ({"userns": "keep-id"}, "only supported in rootless mode"),
        ({"userns": "bogus"}, "unrecognized namespace mode"),
        ({"userns": "auto:size=x"}, "only size=N is known"),
    ],
)  # fmt: skip
def test_what_is_no_user_namespace_is_named(
    given: dict[str, object], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(user_namespaces, "_is_whole_host", lambda: True)
    with pytest.raises(ConfigError, match=re.escape(problem)):
        chosen(**given)


def test_in_a_user_namespace_of_its_own_pyengine_makes_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(user_namespaces, "_is_whole_host", lambda: False)
    with pytest.raises(ConfigError, match="run it as root"):
        chosen(uidmap=("0:1",))


def test_an_id_that_is_not_mapped_is_named() -> None:
    assert to_host([[0, 100, 5], [5, 900, 5]], 7) == 902
    with pytest.raises(StorageError, match="id 10 is not among the ids"):
        to_host([[0, 100, 5], [5, 900, 5]], 10)
