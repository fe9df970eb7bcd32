"""Device nodes, as config.json's ``linux.devices``."""

from __future__ import annotations

import os
import stat

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import DeviceWish, SecuritySettings


def of_host() -> list[dict[str, Any]]:
    """Every device node of the host's /dev, for ``--privileged``."""
    found = []
    for directory, folders, names in os.walk("/dev"):
        if directory == "/dev":
            folders[:] = [name for name in folders if name not in ("pts", "shm", "mqueue", "fd")]
            names = [name for name in names if name not in ("console", "ptmx", "tty")]
        for name in names:
            path = f"{directory}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:  # unplugged meanwhile
                continue
            if is_device(status):
                found.append(node(path, status))
    return found


def wanted(settings: SecuritySettings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The nodes that ``--device`` asks for, and the rules that allow them and others.

    Raises:
        ConfigError: a device is gone.
    """
    nodes, rules = [], []
    for wish in settings.get("devices", []):
        for source, destination in _members(wish):
            try:
                status = os.stat(source)
            except OSError as error:
                raise ConfigError(f"--device {source}: {error.strerror}") from error
            entry = node(destination, status)
            nodes.append(entry)
            rules.append(rule(entry, wish["access"]))
    for kind, major, minor, access in settings.get("device_rules", []):
        entry = {"allow": True, "type": kind, "access": access}
        entry.update({k: v for k, v in (("major", major), ("minor", minor)) if v >= 0})
        rules.append(entry)
    return nodes, rules


def sources(settings: SecuritySettings) -> dict[str, str]:
    """The path on the host of each device that ``--device`` asks for, by that in the container."""
    wishes = settings.get("devices", [])
    return {destination: source for wish in wishes for source, destination in _members(wish)}


def _members(wish: DeviceWish) -> list[tuple[str, str]]:
    """Source and destination of the device, or of each in the directory."""
    top = wish["source"]
    if not os.path.isdir(top):
        return [(top, wish["destination"])]
    found = []
    for directory, _, names in os.walk(top):
        for name in sorted(names):
            path = f"{directory}/{name}"
            if is_device(os.stat(path)):
                found.append((path, f"{wish['destination']}{path[len(top) :]}"))
    if not found:
        raise ConfigError(f"--device {top}: no devices found")
    return found


def is_device(status: os.stat_result) -> bool:
    """Whether it is a node of a character or block device."""
    return stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)


def node(path: str, status: os.stat_result) -> dict[str, Any]:
    """An entry of ``linux.devices`` at ``path``."""
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def rule(entry: dict[str, Any], access: str) -> dict[str, Any]:
    """What lets a container use a node."""
    numbers = {key: entry[key] for key in ("type", "major", "minor")}
    return {"allow": True, **numbers, "access": access}


def bind(mounts: list[dict[str, Any]], sources: dict[str, str]) -> None:
    """Show nodes of the host, by their names inside, where none can be made."""
    for path, source in sources.items():
        options = ["bind", "rprivate", "nosuid", "noexec"]
        mounts.append({"destination": path, "type": "bind", "source": source, "options": options})


def bind_renamed(spec: dict[str, Any], sources: dict[str, str]) -> None:
    """What a runtime would look for under its name inside, in a user namespace of root's."""
    renamed = {path: source for path, source in sources.items() if path != source}
    linux = spec["linux"]
    linux["devices"] = [one for one in linux.get("devices", []) if one["path"] not in renamed]
    bind(spec["mounts"], renamed)
