from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyengine.containers import auto_ids, record, user_namespaces
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError, StorageError
from pyengine.storage.idmapped import (
    NOBODY,
    capability_inside,
    capability_on_host,
    to_host,
    to_inside,
)
from support.configured import configured


class NoHost:
    """No container is looked at."""

    rootless = False


def chosen(**given: object) -> list[list[list[int]]]:
    config = configured("--name x")
    options = ContainerOptions("image", **given)
    user_namespaces.configure(NoHost(), config, options, [])  # type: ignore[arg-type]  # not used
    return config["id_maps"]


def test_one_map_stands_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(user_namespaces, "_is_whole_host", lambda: True)
    line = [[0, 1000, 10], [10, 5000, 1]]
    assert chosen(uidmap=("0:1000:10", "10:5000")) == [line, line]
    assert chosen(gidmap=("0:7:1",), uidmap=("0:1:1",)) == [[[0, 1, 1]], [[0, 7, 1]]]
    assert chosen(gidmap=("0:7:1", "g1:9"), uidmap=()) == [[[0, 7, 1]], [[0, 7, 1], [1, 9, 1]]]
    assert chosen(userns="host") == []


def test_root_keeps_all_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_namespaces, "_is_whole_host", lambda: True)
    config = configured("--name x")
    options = ContainerOptions("image", userns="keep-id:uid=7,gid=8")
    host: Any = NoHost()
    user_namespaces.configure(host, config, options, [])
    assert config["id_maps"] == [[[0, 0, 4294967295]]] * 2
    assert config["user"] == "7:8"
    kept: Any = SimpleNamespace(config=config)
    assert record.id_maps(kept) is None  # no owner has to be mapped


def test_subordinate_ids_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(user_namespaces, "_is_whole_host", lambda: True)
    path = tmp_path / "subuid"
    path.write_text("# none\nother:1:2\nbox:1000:10\nbox:5000:5\n")
    monkeypatch.setattr(auto_ids, "SUBUID", str(path))
    monkeypatch.setattr(auto_ids, "SUBGID", str(path))
    line = [[0, 1000, 10], [10, 5000, 5]]
    assert chosen(subuidname="box") == [line, line]
    with pytest.raises(ConfigError, match='subordinate ids of user "nobody"'):
        chosen(subuidname="nobody")


def test_auto_takes_what_no_other_container_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "subuid"
    path.write_text("containers:1000:100\ncontainers:5000:100\n")
    monkeypatch.setattr(auto_ids, "SUBUID", str(path))
    monkeypatch.setattr(auto_ids, "SUBGID", str(path))
    maps: list[list[int]] = []
    others = [
        SimpleNamespace(config={"id_maps": [maps, []]}),
        SimpleNamespace(config={"id_maps": []}),
    ]
    monkeypatch.setattr(record, "every", lambda _: others)

    def chosen(size: int, detail: str = "") -> list[list[int]]:
        host: Any = NoHost()
        return auto_ids.choose(host, auto_ids.Wish(f"auto:{detail}", detail), size)[0]

    assert chosen(50) == [[0, 1000, 50]]
    maps[:] = [[0, 1000, 30]]
    assert chosen(50) == [[0, 1030, 50]]
    maps[:] = [[0, 1060, 10], [0, 1000, 20]]
    assert chosen(50) == [[0, 5000, 50]]
    assert chosen(40) == [[0, 1020, 40]]
    assert chosen(120) == [[0, 1020, 40], [40, 1070, 30], [70, 5000, 50]]
    assert chosen(6, "uidmapping=3:1020:2") == [[0, 1022, 3], [3, 1020, 2], [5, 1025, 1]]
    assert chosen(2, "gidmapping=3:1020:2,uidmapping=9:7") == [[0, 1020, 2], [9, 7, 1]]
    with pytest.raises(ConfigError, match="could not find enough available IDs"):
        chosen(171)


def test_auto_gives_as_many_ids_as_the_image_knows(tmp_path: Path) -> None:
    bottom, top = tmp_path / "bottom/etc", tmp_path / "top/etc"
    for directory in (bottom, top):
        directory.mkdir(parents=True)
    layers = [str(tmp_path / "top"), str(tmp_path / "bottom")]
    assert auto_ids.estimate("", layers) == 1024
    (bottom / "passwd").write_text("nobody:x:65535:65535::/:\na:x:5000:6000::/:\nb:x:65534:1::/:\n")
    assert auto_ids.estimate("", layers) == 6001
    (bottom / "group").write_text("nogroup:x:65000:\nx:x:7000:\n")
    assert auto_ids.estimate("root", layers) == 7001
    assert auto_ids.estimate("9:8000", layers) == 8001
    (top / "group").write_text("x:x:3:\n")
    assert auto_ids.estimate("", layers) == 6001
    (top / "passwd").symlink_to("/etc/passwd")  # leads nowhere but below the layer
    assert auto_ids.estimate("", layers) == 1024
    with pytest.raises(ConfigError, match="size 70001 that is bigger than the maximum"):
        auto_ids.estimate("70000", layers)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"uidmap": ("0:1",), "userns": "auto"}, "exclude each other"),
        ({"uidmap": ("a:b",)}, "must be INSIDE:HOST[:COUNT]"),
        ({"uidmap": ("0:4294967295:9",)}, "ids must be below"),
        ({"uidmap": ("1:1:1",)}, "the container's root has no user of the host"),
        ({"uidmap": ("0:1:5", "4:100:5")}, "the maps of user ids overlap"),
        ({"uidmap": ("0:1:5", "5:3:5")}, "the maps of user ids overlap"),
        ({"userns": "nomap"}, "only supported in rootless mode"),
        ({"userns": "keep-id:size=9"}, "size is for ordinary users"),
        ({"uidmap": ("u0:1:9",)}, "the container's root has no group of the host"),
        ({"userns": "bogus"}, "unrecognized namespace mode"),
        ({"userns": "auto:size=x"}, "unknown option specified: 'size=x'"),
        ({"userns": "auto:uidmapping=x"}, "uidmapping x: must be INSIDE:HOST[:COUNT]"),
        ({"userns": "ns:/nosuch"}, "cannot find specified user namespace path: /nosuch"),
        ({"userns": "ns:/proc/self/ns/user"}, "it is the host's"),
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
    assert to_inside([[0, 100, 5], [5, 900, 5]], 902) == 7
    assert to_inside([[0, 100, 5]], 0) == NOBODY


def test_a_files_capabilities_are_those_of_the_containers_root() -> None:
    inside = bytes([1, 0, 0, 2]) + bytes(range(16))
    outside = bytes([1, 0, 0, 3]) + bytes(range(16)) + (1000).to_bytes(4, "little")
    assert capability_on_host(inside, [[0, 1000, 5]]) == outside
    assert capability_inside(outside, [[0, 1000, 5]]) == inside
    assert capability_inside(outside, [[7, 1000, 5]]) == outside[:20] + bytes([7, 0, 0, 0])
    assert capability_inside(inside, [[0, 1000, 5]]) == inside
    assert capability_on_host(b"?", [[0, 1000, 5]]) == b"?"
