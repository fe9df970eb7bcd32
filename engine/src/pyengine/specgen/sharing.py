"""Namespaces that a container shares with the host or with another container."""

from __future__ import annotations

import os

from pyengine.specgen.mounts import SAFE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pyengine.specgen.types import ContainerConfig

SHM = "/dev/shm"
QUEUES = "/dev/mqueue"
TTY_GID = 5  # of terminals, where the container has this group
HOST_TYPES = ("mqueue", "proc", "sysfs")
NEW = ("private", "shareable", "none")


def change(
    spec: dict[str, Any], config: ContainerConfig, paths: dict[str, str], bundle: str
) -> None:
    """Change config.json, which is that of an ordinary container.

    Args:
        spec: its content.
        config: the container's configuration.
        paths: by kind, namespaces of other containers.
        bundle: where their /dev/shm is mounted.
    """
    modes = dict(config["namespaces"])
    if config["network"] not in ("none", "host"):
        modes["network"] = config["network"]
    linux = spec["linux"]
    found = {entry["type"]: entry for entry in linux["namespaces"]}
    for kind, mode in modes.items():
        found.pop(kind, None)
        word, _, place = mode.partition(":")
        if mode in NEW:
            found[kind] = {"type": kind}
        elif word == "ns":
            found[kind] = {"type": kind, "path": place}
        elif word == "container":
            found[kind] = {"type": kind, "path": paths[kind]}
    linux["namespaces"] = list(found.values())
    if config["id_maps"]:
        _map_ids(spec, config)
    if modes.get("uts", "private") != "private":
        del spec["hostname"]
    ipc = modes.get("ipc", "private")
    if ipc == "host":
        _replace_shm(spec, SHM)
    elif ipc.startswith("container:"):
        _replace_shm(spec, f"{bundle}/shm")
    elif ipc == "none":
        spec["mounts"] = [one for one in spec["mounts"] if one["destination"] != SHM]


def _map_ids(spec: dict[str, Any], config: ContainerConfig) -> None:
    """The ids of a user namespace, whose root may not mount what belongs to the host."""
    # runc 1.1 wants the maps of a namespace that it joins, too.
    for key, id_map in zip(("uidMappings", "gidMappings"), config["id_maps"], strict=True):
        spec["linux"][key] = [
            {"containerID": first, "hostID": host, "size": count} for first, host, count in id_map
        ]
    drop_tty_group(spec["mounts"], config["id_maps"][1])
    bind_what_is_the_hosts(spec, config)


def bind_what_is_the_hosts(spec: dict[str, Any], config: ContainerConfig) -> None:
    """Bind what the root of a user namespace may not mount, because it belongs to the host."""
    shared_ipc = config["namespaces"].get("ipc", "private") not in NEW
    if shared_ipc and not os.path.isdir(QUEUES):  # the host has none to show
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != QUEUES]
    for mount in spec["mounts"]:
        host_network = mount["destination"] == "/sys" and config["network"] != "none"
        host_queues = mount["destination"] == QUEUES and shared_ipc
        host_pids = mount["destination"] == "/proc" and config["namespaces"].get("pid") == "host"
        if (host_network or host_queues or host_pids) and mount["type"] in HOST_TYPES:
            access = [] if host_pids else ["ro"]
            mount["type"], mount["source"] = "bind", mount["destination"]
            mount["options"] = ["rbind", "rprivate", *SAFE, *access]


def drop_tty_group(mounts: list[dict[str, Any]], gid_map: Sequence[Sequence[int]]) -> None:
    """Let terminals belong to root's group where the map has not theirs, as podman does."""
    if any(first <= TTY_GID < first + count for first, _, count in gid_map):
        return
    for mount in mounts:
        if mount["type"] == "devpts":
            mount["options"] = [one for one in mount["options"] if one != f"gid={TTY_GID}"]


def _replace_shm(spec: dict[str, Any], source: str) -> None:
    for mount in spec["mounts"]:
        if mount["destination"] == SHM and mount["type"] == "tmpfs" and mount["source"] == "shm":
            options = ["bind", "rprivate", *SAFE]
            mount.update({"type": "bind", "source": source, "options": options})


def give_away(paths: Iterable[str], id_maps: list[list[list[int]]]) -> None:
    """Give the engine's files to the container's root."""
    uid, gid = (next(host for first, host, _ in id_map if first == 0) for id_map in id_maps)
    for path in paths:
        os.chown(path, uid, gid)
