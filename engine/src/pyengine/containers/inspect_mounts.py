"""What ``inspect`` says of a container's mounts and secrets, under podman's names."""

from __future__ import annotations

from pyengine.specgen.mount_options import PROPAGATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.specgen.types import ContainerConfig, Volume


def mounts(host: Host, config: ContainerConfig) -> list[dict[str, Any]]:
    """``Mounts``: volumes before the others, and not what is the container's own."""
    paths = host.volume_paths(config)
    shown = [one for one in config["volumes"] if one.get("kind", "image") == "image"]
    return [_mount(one, paths) for one in sorted(shown, key=lambda one: not one["name"])]


def _mount(volume: Volume, paths: dict[str, str]) -> dict[str, Any]:
    name = volume["name"]
    propagation = [word for word in volume["options"] if word in PROPAGATION]
    found: dict[str, Any] = {
        "Type": volume.get("kind") or ("volume" if name else "bind"),
        "Source": volume["source"] or paths[name],
        "Destination": volume["destination"],
        "Driver": "local" if name else "",
        "Mode": volume.get("relabel", ""),
        "Options": [word for word in volume["options"] if word not in ("ro", "rw", *propagation)],
        "RW": "ro" not in volume["options"],
        "Propagation": propagation[0] if propagation else "",
    }
    if volume.get("subpath"):
        found["SubPath"] = volume["subpath"]
    return {"Type": found.pop("Type"), "Name": name, **found} if name else found


def binds(config: ContainerConfig) -> list[str]:
    """``HostConfig.Binds``: what ``--volume`` would have to say."""
    found = []
    for volume in sorted(config["volumes"], key=lambda one: not one["name"]):
        if "kind" in volume:
            continue
        options = [*volume["options"], *([volume["relabel"]] if volume.get("relabel") else [])]
        source = volume["name"] or volume["source"]
        found.append(f"{source}:{volume['destination']}:{','.join(options)}")
    return found


def secrets(config: ContainerConfig) -> dict[str, Any]:
    """``Config.Secrets``, where there are some that are files."""
    found = [
        {"Name": one["name"], "ID": one["id"], "UID": one["uid"], "GID": one["gid"],
         "Mode": one["mode"]}
        for one in config["mounts"].get("secrets", [])
    ]  # fmt: skip
    return {"Secrets": found} if found else {}
