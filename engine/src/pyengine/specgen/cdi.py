"""Devices of the Container Device Interface: specifications in /etc/cdi and /run/cdi.

A device, and the specification that it is in, say how config.json changes (CDI SPEC.md).
"""

from __future__ import annotations

import json
import os

from pyengine.errors import ConfigError
from pyengine.specgen import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Edits = dict[str, Any]

DIRECTORIES = ("/etc/cdi", "/run/cdi")
# CDI's hook names are config.json's.
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def find(names: list[str]) -> list[Edits]:
    """The edits of each device, after those of its specification.

    Raises:
        ConfigError: a device is in no specification.
    """
    specifications = list(_specifications())
    found: list[Edits] = []
    seen: set[int] = set()
    missing = []
    for wanted in names:
        kind, _, name = wanted.partition("=")
        for number, specification in enumerate(specifications):
            device = _device(specification, kind, name)
            if device is not None:
                if number not in seen:
                    found.append(specification.get("containerEdits") or {})
                    seen.add(number)
                found.append(device.get("containerEdits") or {})
                break
        else:
            missing.append(wanted)
    if missing:
        raise ConfigError(
            f"setting up CDI devices: unresolvable CDI devices {', '.join(missing)}: no"
            f" specification in {' or '.join(DIRECTORIES)} has them"
        )
    return found


def apply(spec: dict[str, Any], names: list[str]) -> None:
    """Change config.json as the devices ask.

    Raises:
        ConfigError: a specification is not as it must be.
    """
    for edits in find(names):
        try:
            _apply(spec, edits)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"setting up CDI devices: {', '.join(names)}: bad containerEdits: {error!r}"
            ) from error


def _apply(spec: dict[str, Any], edits: Edits) -> None:
    spec["process"]["env"] += edits.get("env") or []
    for wish in edits.get("deviceNodes") or []:
        _add_node(spec["linux"], wish)
    for mount in edits.get("mounts") or []:
        options = mount.get("options") or ["ro", "nosuid", "nodev", "bind"]
        spec["mounts"].append(
            {
                "destination": mount["containerPath"],
                "source": mount["hostPath"],
                "type": mount.get("type") or "bind",
                "options": list(dict.fromkeys([*options, "bind"])),
            }
        )
    for hook in edits.get("hooks") or []:
        if hook["hookName"] not in HOOKS:
            raise ConfigError(f"setting up CDI devices: unknown hook {hook['hookName']}")
        kept = {key: hook[key] for key in ("path", "args", "env", "timeout") if key in hook}
        spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(kept)
    for gid in edits.get("additionalGids") or []:
        gids = spec["process"]["user"].setdefault("additionalGids", [])
        if gid not in gids:
            gids.append(gid)


def _add_node(linux: dict[str, Any], wish: dict[str, Any]) -> None:
    source = wish.get("hostPath") or wish["path"]
    try:
        status = os.stat(source)
    except OSError as error:
        raise ConfigError(f"setting up CDI devices: {source}: {error.strerror}") from error
    if not devices.is_device(status):
        raise ConfigError(f"setting up CDI devices: {source} is not a device node")
    entry = devices.node(wish["path"], status)
    entry.update({key: wish[key] for key in ("fileMode", "uid", "gid") if key in wish})
    linux.setdefault("devices", []).append(entry)
    if "resources" in linux:
        rule = devices.rule(entry, wish.get("permissions") or "rwm")
        linux["resources"]["devices"].append(rule)


def _device(specification: dict[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    if specification.get("kind") != kind:
        return None
    for device in specification.get("devices") or []:
        if device.get("name") == name:
            return dict(device)
    return None


def _specifications() -> Iterator[dict[str, Any]]:
    """Every specification; a file in /run wins over one in /etc."""
    for directory in reversed(DIRECTORIES):
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:
            continue
        for name in names:
            if name.endswith((".json", ".yaml", ".yml")):
                yield _read(f"{directory}/{name}")


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"read CDI specification {path}: {error}") from error
    try:
        found = _parse(path, text)
    except ValueError as error:
        raise ConfigError(f"read CDI specification {path}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"read CDI specification {path}: not an object")
    return found


def _parse(path: str, text: str) -> object:
    if path.endswith(".json"):
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
