"""Whose ids a container's users have on the host (``--userns``, ``--uidmap``, ``--subuidname``)."""

from __future__ import annotations

import itertools
import os

from pyengine.containers import auto_ids, id_lines, record, rootless_ids
from pyengine.errors import ConfigError
from pyengine.storage import idmapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig

    IdMap = list[list[int]]

JOINED = "ns:"  # begins the mode of a container in a user namespace of somebody else's


def configure(
    host: Host, config: ContainerConfig, wanted: ContainerOptions, layers: list[str]
) -> None:
    """Choose the ids; the caller holds the lock of ``auto``.

    Args:
        host: whose ids.
        config: gets them.
        wanted: what the user asked for.
        layers: the directories of the image, the top first.

    Raises:
        ConfigError: an option has no meaning, or there are no ids left.
    """
    mode, _, detail = wanted.userns.partition(":")
    named = wanted.subuidname or wanted.subgidname
    given = wanted.uidmap or wanted.gidmap
    if bool(mode) + bool(named) + bool(given) > 1:
        raise ConfigError("--userns, --uidmap or --gidmap, and --subuidname exclude each other")
    if mode == "host" or not (mode or named or given):
        return
    if not host.rootless and not _is_whole_host():
        raise ConfigError(
            "a user namespace for a container: pyengine runs in one itself: run it as root"
        )
    if named and host.rootless:
        raise ConfigError(
            "--subuidname and --subgidname: an ordinary user's containers have his own ids already:"
            " give --uidmap, or --userns"
        )
    if given:
        lines = (wanted.uidmap or wanted.gidmap, wanted.gidmap or wanted.uidmap)
        maps = [
            id_lines.read(kind, texts, rootless_ids.ours(kind), fill=host.rootless)
            for kind, texts in zip(("uid", "gid"), lines, strict=True)
        ]
        _take(config, *maps)
    elif named:
        user, group = wanted.subuidname or named, wanted.subgidname or named
        user_ranges = auto_ids.subordinate(auto_ids.SUBUID, user)
        group_ranges = auto_ids.subordinate(auto_ids.SUBGID, group)
        _take(config, _in_a_row(user_ranges), _in_a_row(group_ranges))
    elif mode == "auto":
        wish = auto_ids.Wish(wanted.userns, detail)
        size = wish.size or wanted.userns_size or auto_ids.estimate(config["user"], layers)
        _take(config, *auto_ids.choose(host, wish, size))
        config["userns_auto"] = wanted.userns
    elif mode == "container" and detail:
        config["namespaces"]["user"] = wanted.userns
        config["id_maps"] = record.find(host, detail).config["id_maps"]
        if not config["id_maps"]:
            raise ConfigError(f"--userns {wanted.userns}: it has no user namespace of its own")
    elif mode == "ns" and detail:
        path = os.path.abspath(detail)
        _take(config, *(sorted(id_map) for id_map in _maps_of(path)))
        config["namespaces"]["user"] = f"{JOINED}{path}"
    elif mode == "keep-id" and host.rootless:
        _take(config, *rootless_ids.keep_id(config, wanted, detail))
    elif mode == "nomap" and host.rootless:
        _take(config, *rootless_ids.nomap(mode))
    elif mode == "keep-id":
        _keep_roots(config, wanted.userns, detail)
    elif mode == "nomap":
        raise ConfigError(f"{mode} is only supported in rootless mode")
    else:
        raise ConfigError(
            f"--userns {wanted.userns}: unrecognized namespace mode {mode} passed: give host,"
            " auto[:OPTIONS], keep-id[:OPTIONS], container:NAME or ns:PATH"
        )
    if host.rootless:
        config["id_maps"] = rootless_ids.split(config["id_maps"])


def _keep_roots(config: ContainerConfig, mode: str, detail: str) -> None:
    """``keep-id`` of root: all ids are as on the host, in a namespace of the container's own."""
    given = rootless_ids.options(mode, detail)
    if "size" in given:
        raise ConfigError(f"--userns {mode}: size is for ordinary users: root's container has all")
    if not config["user"]:
        config["user"] = f"{given.get('uid', 0)}:{given.get('gid', 0)}"
    _take(config, record.ALL_IDS, record.ALL_IDS)


def _is_whole_host() -> bool:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() == ["0", "0", str(id_lines.MAX_ID)]


def _take(config: ContainerConfig, uid_map: IdMap, gid_map: IdMap) -> None:
    for name, id_map in (("user", uid_map), ("group", gid_map)):
        if not any(first == 0 for first, _, _ in id_map):
            raise ConfigError(f"the container's root has no {name} of the host: map id 0")
        for place in (0, 1):
            ranges = sorted((line[place], line[place] + line[2]) for line in id_map)
            if any(end > start for (_, end), (start, _) in itertools.pairwise(ranges)):
                raise ConfigError(f"the maps of {name} ids overlap")
    config["namespaces"]["user"] = "private"
    config["id_maps"] = [uid_map, gid_map]


def choose_again(host: Host, config: ContainerConfig) -> None:
    """Other ids of the same number, for a clone; the caller holds the lock of ``auto``."""
    mode = config["userns_auto"]
    wish = auto_ids.Wish(mode, mode.partition(":")[2])
    size = sum(count for _, _, count in config["id_maps"][0])
    extra = sum(count for _, _, count in wish.maps[0])
    _take(config, *auto_ids.choose(host, wish, wish.size or size - extra))


def _maps_of(path: str) -> tuple[IdMap, IdMap]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"cannot find specified user namespace path: {path}: {error.strerror}"
        ) from error
    try:
        if os.path.samestat(os.fstat(fd), os.stat("/proc/self/ns/user")):
            raise ConfigError(f"--userns ns:{path}: it is the host's: give --userns host")
        return idmapped.maps_of(fd, path)
    finally:
        os.close(fd)


def check_joined(config: ContainerConfig) -> None:
    """See that the namespace at ``ns:PATH`` has the ids that the container's files have.

    Raises:
        ConfigError: it is gone, or another one is there.
    """
    path = config["namespaces"]["user"].removeprefix(JOINED)
    if [sorted(id_map) for id_map in _maps_of(path)] != config["id_maps"]:
        raise ConfigError(
            f"--userns ns:{path}: the user namespace there has other ids than when the container"
            " was created, whose files belong to those: create it again"
        )


def _in_a_row(ranges: IdMap) -> IdMap:
    """A map from 0 on to all ranges."""
    found, first = [], 0
    for start, count in ranges:
        found.append([first, start, count])
        first += count
    return found
