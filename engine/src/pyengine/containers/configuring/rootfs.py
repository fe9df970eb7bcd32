"""``--rootfs DIR``: a directory of the host as the root file system, as it is, below or mapped."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.storage import idmapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import ContainerConfig

KINDS = ("uids", "gids")


def configure(config: ContainerConfig) -> None:
    """``DIR``, ``DIR:O`` to keep changes apart, or ``DIR:idmap[=uids=...;gids=...]``.

    Raises:
        ConfigError: there is no such directory, or a map is none.
    """
    given = config["rootfs"]
    path, colon, word = given.rpartition(":")
    if not colon or os.path.isdir(given):
        path, word = given, ""
    if word == "O":
        config["mounts"]["rootfs_overlay"] = True
    elif word.partition("=")[0] == "idmap":
        config["mounts"]["rootfs_idmap"] = _maps(given, word.partition("=")[2])
    elif word:
        path = given
    config["rootfs"] = os.path.abspath(path)
    if not os.path.isdir(config["rootfs"]):
        raise ConfigError(f"--rootfs {given}: no such directory")


def check(config: ContainerConfig) -> None:
    """See, once the container's ids are chosen, that there is something to map to.

    Raises:
        ConfigError: there is not.
    """
    wanted = config["mounts"].get("rootfs_idmap", {})
    if not config["id_maps"] and wanted.keys() < set(KINDS):
        raise ConfigError(
            "--rootfs: idmap: the container has no user namespace: give --userns or --uidmap, or"
            " both uids= and gids= behind idmap="
        )


def mount(config: ContainerConfig, target: str) -> None:
    """Mount the directory with its owners mapped.

    Raises:
        StorageError: the kernel or the file system cannot, or the container lacks an id.
    """
    wanted = config["mounts"]["rootfs_idmap"]
    maps = []
    for place, kind in enumerate(KINDS):
        rows = wanted.get(kind)
        own = config["id_maps"][place] if config["id_maps"] else []
        maps.append(
            own if rows is None else
            [[first, idmapped.to_host(own, host) if of_container else host, count]
             for first, host, count, of_container in rows]
        )  # fmt: skip
    idmapped.mount(config["rootfs"], target, maps[0], maps[1])


def _maps(given: str, text: str) -> dict[str, list[list[int]]]:
    """By kind: an id of the files, what it is shown as, how many, and whether inside."""
    found: dict[str, list[list[int]]] = {}
    for part in filter(None, text.split(";")):
        kind, _, ranges = part.partition("=")
        rows = [_row(one) for one in ranges.split("#")]
        if kind not in KINDS or not all(rows):
            raise ConfigError(
                f"--rootfs {given}: {part}: must be uids= or gids= and ranges FILES-HOST-COUNT or"
                " @FILES-CONTAINER-COUNT, with # between them"
            )
        found[kind] = rows
    return found


def _row(text: str) -> list[int]:
    words = text.removeprefix("@").split("-")
    if len(words) != 3 or not all(word.isdecimal() for word in words) or not int(words[2]):
        return []
    return [*map(int, words), int(text.startswith("@"))]
