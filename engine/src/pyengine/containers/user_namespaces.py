"""Whose ids a container's users have on the host (``--userns``, ``--uidmap``, ``--subuidname``)."""

from __future__ import annotations

import itertools
import os

from pyengine.containers import record
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig

    IdMap = list[list[int]]

AUTO_OWNER = "containers"  # whose subordinate ids --userns=auto hands out
AUTO_SIZE = 65536
MAX_IDS = 2**32 - 1
SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"


def configure(host: Host, config: ContainerConfig, wanted: ContainerOptions) -> None:
    """Choose the ids; the caller holds the lock of ``auto``.

    Raises:
        ConfigError: an option has no meaning, or there are no ids left.
    """
    mode, _, detail = wanted.userns.partition(":")
    named = wanted.subuidname or wanted.subgidname
    given = wanted.uidmap or wanted.gidmap
    if bool(mode) + bool(named) + bool(given) > 1:
        raise ConfigError("--userns, --uidmap or --gidmap, and --subuidname exclude each other")
    if mode == "host":
        return
    if os.geteuid() != 0 or not _is_whole_host():
        raise ConfigError(
            "a user namespace for a container: pyengine runs in one itself: run it as root"
        )
    if given:
        uid_map = [_map("--uidmap", text) for text in wanted.uidmap or wanted.gidmap]
        gid_map = [_map("--gidmap", text) for text in wanted.gidmap or wanted.uidmap]
        _take(config, uid_map, gid_map)
    elif named:
        user, group = wanted.subuidname or named, wanted.subgidname or named
        _take(config, _in_a_row(subordinate(SUBUID, user)), _in_a_row(subordinate(SUBGID, group)))
    elif mode == "auto":
        size = _auto_size(wanted.userns, detail)
        used = [one.config["id_maps"] for one in record.every(host)]
        maps = []
        for kind, path in enumerate((SUBUID, SUBGID)):
            taken = [line for maps_ in used if maps_ for line in maps_[kind]]
            start = free_range(subordinate(path, AUTO_OWNER), taken, size)
            maps.append([[0, start, size]])
        _take(config, *maps)
    elif mode == "container" and detail:
        config["namespaces"]["user"] = wanted.userns
        config["id_maps"] = record.find(host, detail).config["id_maps"]
        if not config["id_maps"]:
            raise ConfigError(f"--userns {wanted.userns}: it has no user namespace of its own")
    elif mode in ("keep-id", "nomap"):
        raise ConfigError(f"{mode} is only supported in rootless mode")
    else:
        raise ConfigError(
            f"--userns {wanted.userns}: unrecognized namespace mode: give host, auto[:size=N] or"
            " container:NAME"
        )


def _is_whole_host() -> bool:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() == ["0", "0", str(MAX_IDS)]


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


def _map(option: str, text: str) -> list[int]:
    """``INSIDE:HOST[:COUNT]``."""
    words = text.split(":")
    if len(words) not in (2, 3) or not all(word.isdecimal() for word in words):
        raise ConfigError(f"{option} {text}: must be INSIDE:HOST[:COUNT]")
    first, host, count = (*map(int, words), 1)[:3]
    if not count or max(first, host) + count > MAX_IDS:
        raise ConfigError(f"{option} {text}: ids must be below {MAX_IDS}")
    return [first, host, count]


def _auto_size(text: str, detail: str) -> int:
    if not detail:
        return AUTO_SIZE
    name, _, value = detail.partition("=")
    if name != "size" or not value.isdecimal() or not int(value):
        raise ConfigError(f"--userns {text}: only size=N is known")
    return int(value)


def subordinate(path: str, owner: str) -> IdMap:
    """The ranges of ``owner`` (subuid(5)), each start and count.

    Raises:
        ConfigError: it has none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip().split(":") for line in file]
    except FileNotFoundError:
        lines = []
    found = [
        [int(line[1]), int(line[2])] for line in lines
        if len(line) == 3 and line[0] == owner and line[1].isdecimal() and line[2].isdecimal()
    ]  # fmt: skip
    if not found:
        raise ConfigError(
            f'cannot find subordinate ids of user "{owner}" in {path}: add a line such as'
            f" {owner}:2147483647:2147483648"
        )
    return found


def _in_a_row(ranges: IdMap) -> IdMap:
    """A map from 0 on to all ranges."""
    found, first = [], 0
    for start, count in ranges:
        found.append([first, start, count])
        first += count
    return found


def free_range(ranges: IdMap, taken: IdMap, size: int) -> int:
    """The first ``size`` ids that no container has.

    Args:
        ranges: each start and count.
        taken: lines of other containers' maps.
        size: how many.

    Raises:
        ConfigError: there are not so many in a row.
    """
    blocks = sorted([host, host + count] for _, host, count in taken)
    for start, count in ranges:
        place = start
        for begin, end in blocks:
            if begin < place + size and end > place:
                place = end
        if place + size <= start + count:
            return place
    raise ConfigError(
        f"could not find enough available IDs: --userns=auto needs {size} in a row, which no other"
        " container has"
    )
