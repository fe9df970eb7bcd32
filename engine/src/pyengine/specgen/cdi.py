"""Devices of the Container Device Interface: specifications in /etc/cdi and /var/run/cdi.

A device, and the specification that it is in, say how config.json changes (CDI SPEC.md 1.1).
"""

from __future__ import annotations

import json
import os

from pyengine.errors import ConfigError
from pyengine.specgen import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Edits = dict[str, Any]
    Json = dict[str, Any]

# What is in a later one counts more.
DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
# CDI's hook names are config.json's.
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
ENDINGS = (".json", ".yaml", ".yml")


def find(names: Iterable[str], directories: Iterable[str]) -> list[Edits]:
    """The edits of each device, after those of its specification.

    Raises:
        ConfigError: a device is in no specification, or in two of one directory.
    """
    shelves, problems = _read_all(directories)
    found: list[Edits] = []
    used: list[Json] = []
    missing = []
    for wanted in names:
        kind, _, name = wanted.partition("=")
        place = _place(shelves, kind, name, wanted)
        if place is None:
            missing.append(wanted)
            continue
        specification, device = place
        if not any(specification is one for one in used):
            used.append(specification)
            found.append(specification.get("containerEdits") or {})
        found.append(device.get("containerEdits") or {})
    if missing:
        places = " or ".join(directories)
        raise ConfigError(
            f"setting up CDI devices: unresolvable CDI devices {', '.join(missing)}: no"
            f" specification in {places} has them{''.join(f'; {one}' for one in problems)}"
        )
    return found


def _place(
    shelves: list[list[tuple[str, Json]]], kind: str, name: str, wanted: str
) -> tuple[Json, Json] | None:
    """The specification and the device in it, of the last directory that has it."""
    for shelf in reversed(shelves):
        there = [
            (path, specification, device)
            for path, specification in shelf
            if specification.get("kind") == kind
            for device in specification.get("devices") or []
            if device.get("name") == name
        ]
        if len(there) > 1:
            paths = " and ".join(path for path, _, _ in there)
            raise ConfigError(f"setting up CDI devices: {wanted}: conflicting: it is in {paths}")
        if there:
            return there[0][1:]
    return None


def _read_all(directories: Iterable[str]) -> tuple[list[list[tuple[str, Json]]], list[str]]:
    """What each directory holds, and what is wrong with files that are none."""
    shelves, problems = [], []
    for directory in directories:
        shelf = []
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            names = []
        for name in names:
            if name.endswith(ENDINGS):
                path = f"{directory}/{name}"
                try:
                    shelf.append((path, _read(path)))
                except ConfigError as error:  # another vendor's, as long as nobody asks for it
                    problems.append(str(error))
        shelves.append(shelf)
    return shelves, problems


def _read(path: str) -> Json:
    try:
        with open(path, encoding="utf-8") as file:
            found = _parse(path, file.read())
    except (OSError, ValueError) as error:  # of Unicode, of JSON
        raise ConfigError(f"read CDI specification {path}: {error}") from error
    lists = isinstance(found, dict) and found.get("devices", [])
    if not isinstance(lists, list) or not all(isinstance(one, dict) for one in lists):
        raise ConfigError(f"read CDI specification {path}: not an object with a list of devices")
    return found  # type: ignore[return-value]  # a dict, or lists were False


def _parse(path: str, text: str) -> object:
    if path.endswith(".json"):
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def apply(spec: dict[str, Any], names: list[str], directories: Iterable[str]) -> dict[str, str]:
    """Change config.json as the devices ask; the answer is as ``confinement.change``'s.

    Raises:
        ConfigError: a specification is not as it must be.
    """
    sources: dict[str, str] = {}
    for edits in find(names, directories):
        unknown = edits.keys() - EDITORS.keys()
        try:
            if unknown:
                raise KeyError(unknown.pop())
            for key, change in EDITORS.items():
                if edits.get(key):
                    change(spec, edits[key])
            for wish in edits.get("deviceNodes") or []:
                sources[wish["path"]] = wish.get("hostPath") or wish["path"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"setting up CDI devices: {', '.join(names)}: bad containerEdits: {error!r}"
            ) from error
    # Parents before what is in them.
    spec["mounts"].sort(key=lambda mount: os.path.normpath(mount["destination"]).count("/"))
    return sources


def _env(spec: Json, entries: list[str]) -> None:
    """A variable takes the place of the container's own."""
    names = {entry.partition("=")[0] for entry in entries}
    env = [entry for entry in spec["process"]["env"] if entry.partition("=")[0] not in names]
    spec["process"]["env"] = [*env, *entries]


def _device_nodes(spec: Json, wishes: list[Json]) -> None:
    linux = spec["linux"]
    for wish in wishes:
        entry = _node(wish)
        user = spec["process"]["user"]
        for key in ("uid", "gid"):
            if key not in entry and user.get(key):
                entry[key] = user[key]
        kept = [one for one in linux.get("devices", []) if one["path"] != entry["path"]]
        linux["devices"] = [*kept, entry]
        if "resources" in linux and entry["type"] != "p":
            rule = devices.rule(entry, wish.get("permissions") or "rwm")
            linux["resources"]["devices"].append(rule)


def _node(wish: Json) -> Json:
    """An entry of ``linux.devices``; what the specification leaves out is as on the host."""
    given = {key: wish[key] for key in ("type", "major", "minor", "fileMode", "uid", "gid")
             if wish.get(key) is not None}  # fmt: skip
    kind = given.get("type", "")
    if kind == "p" or (kind and given.get("major")):
        return {"path": wish["path"], "major": 0, "minor": 0, **given}
    source = wish.get("hostPath") or wish["path"]
    try:
        status = os.stat(source)
    except OSError as error:
        raise ConfigError(f"setting up CDI devices: {source}: {error.strerror}") from error
    if not devices.is_device(status):
        raise ConfigError(f"setting up CDI devices: {source} is not a device node")
    entry = devices.node(wish["path"], status)
    if kind and kind != entry["type"]:
        raise ConfigError(f"setting up CDI devices: {source} is no device of type {kind}")
    return {**{key: entry[key] for key in ("path", "type", "major", "minor", "fileMode")}, **given}


def _mounts(spec: Json, mounts: list[Json]) -> None:
    for mount in mounts:
        path, kind = mount["containerPath"], mount.get("type") or "bind"
        options = list(mount.get("options") or ["ro", "nosuid", "nodev", "bind"])
        if kind == "bind" and not {"bind", "rbind"} & set(options):
            options.append("bind")
        kept = [one for one in spec["mounts"] if one["destination"] != path]
        entry = {"destination": path, "source": mount["hostPath"], "type": kind, "options": options}
        spec["mounts"] = [*kept, entry]


def _hooks(spec: Json, hooks: list[Json]) -> None:
    for hook in hooks:
        if hook["hookName"] not in HOOKS:
            raise ConfigError(f"setting up CDI devices: unknown hook {hook['hookName']}")
        kept = {key: hook[key] for key in ("path", "args", "env", "timeout") if key in hook}
        spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(kept)


def _additional_gids(spec: Json, gids: list[int]) -> None:
    there = spec["process"]["user"].setdefault("additionalGids", [])
    there += [gid for gid in dict.fromkeys(gids) if gid and gid not in there]


def _intel_rdt(spec: Json, settings: Json) -> None:
    spec["linux"]["intelRdt"] = dict(settings)


def _net_devices(spec: Json, wishes: list[Json]) -> None:
    found = spec["linux"].setdefault("netDevices", {})
    for wish in wishes:
        found[wish["hostInterfaceName"]] = {"name": wish["name"]}


EDITORS: dict[str, Callable[[Json, Any], None]] = {
    "env": _env,
    "deviceNodes": _device_nodes,
    "netDevices": _net_devices,
    "mounts": _mounts,
    "hooks": _hooks,
    "intelRdt": _intel_rdt,
    "additionalGids": _additional_gids,
}
