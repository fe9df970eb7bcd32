from __future__ import annotations

import pytest

from pyengine.config import user
from pyengine.containers import rootless_ids
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError
from support.configured import configured


@pytest.fixture(autouse=True)
def ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """User 1000 of group 100 with 2000 subordinate ids."""
    maps = {"uid": [[0, 1000, 1]], "gid": [[0, 100, 1]]}
    subordinate = [[1, 100_000, 1000], [1001, 200_000, 1000]]
    monkeypatch.setattr(rootless_ids, "ours", lambda kind: maps[kind] + subordinate)
    monkeypatch.setattr(user, "user_id", lambda: 1000)


def kept(detail: str = "", words: str = "--name x") -> tuple[list[list[list[int]]], str]:
    config = configured(words)
    options = ContainerOptions("image", userns=f"keep-id:{detail}")
    return rootless_ids.keep_id(config, options, detail), config["user"]


def test_the_user_keeps_his_ids_and_root_is_the_first_subordinate_one() -> None:
    maps, name = kept()
    assert maps == [
        [[0, 1, 1000], [1000, 0, 1], [1001, 1001, 1000]],
        [[0, 1, 100], [100, 0, 1], [101, 101, 1900]],
    ]
    assert name == "1000:100"
    assert kept(words="--user 7")[1] == "7"


def test_other_ids_are_those_asked_for() -> None:
    maps, name = kept("uid=0,gid=3000")
    assert maps == [[[0, 0, 1], [1, 1, 2000]], [[0, 1, 2000], [3000, 0, 1]]]
    assert name == "0:3000"
    assert kept("size=50,uid=3,gid=100")[0] == [
        [[0, 1, 3], [3, 0, 1], [4, 4, 46]], [[0, 1, 49], [100, 0, 1]],
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="only uid=N, gid=N and size=N are known"):
        kept("uid=x")


def test_one_id_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootless_ids, "count", lambda _: 1)
    with pytest.raises(ConfigError, match="user 1000 has no subordinate ids"):
        kept()
    with pytest.raises(ConfigError, match="user 1000 has no subordinate ids"):
        rootless_ids.nomap("nomap")


def test_maps_stay_within_what_the_user_has() -> None:
    assert rootless_ids.nomap("nomap") == [[[0, 1, 2000]], [[0, 1, 2000]]]
    assert rootless_ids.split([[[0, 1, 2000]], [[5, 0, 1501]]]) == [
        [[0, 1, 1000], [1000, 1001, 1000]], [[5, 0, 1], [6, 1, 1000], [1006, 1001, 500]],
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="--gidmap 0:1:2001: user 1000 has 2001 ids"):
        rootless_ids.split([[[0, 1, 2000]], [[0, 1, 2001]]])
