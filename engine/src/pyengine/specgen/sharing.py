"""Namespaces that a container shares with the host or with another container."""

from __future__ import annotations

from pyengine.specgen.mounts import SAFE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import ContainerConfig

SHM = "/dev/shm"
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
    if modes.get("uts", "private") != "private":
        del spec["hostname"]
    ipc = modes.get("ipc", "private")
    if ipc == "host":
        _replace_shm(spec, SHM)
    elif ipc.startswith("container:"):
        _replace_shm(spec, f"{bundle}/shm")
    elif ipc == "none":
        spec["mounts"] = [one for one in spec["mounts"] if one["destination"] != SHM]


def _replace_shm(spec: dict[str, Any], source: str) -> None:
    for mount in spec["mounts"]:
        if mount["destination"] == SHM and mount["type"] == "tmpfs" and mount["source"] == "shm":
            options = ["bind", "rprivate", *SAFE]
            mount.update({"type": "bind", "source": source, "options": options})
