"""Dockerfile instructions that change an image's settings (``--change`` of import and commit)."""

from __future__ import annotations

import json
import shlex

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Settings = dict[str, Any]


# The keys of docker's and OCI's configurations that an image keeps.
KEYS: dict[str, Any] = {
    **dict.fromkeys(("Env", "Cmd", "Entrypoint", "OnBuild", "Shell"), list),
    **dict.fromkeys(("ExposedPorts", "Volumes", "Labels", "Healthcheck"), dict),
    **dict.fromkeys(("User", "WorkingDir", "StopSignal"), str),
}


def merge(settings: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Settings with others over them: variables and maps key by key.

    Raises:
        ConfigError: a key is none of a configuration, or its value has another type.
    """
    merged = dict(settings)
    for key, value in more.items():
        if not value:
            continue
        if key not in KEYS:
            raise ConfigError(f"--config: {key}: no key of an image's configuration")
        if not isinstance(value, KEYS[key]):
            raise ConfigError(f"--config: {key}: {value!r} is no value for it")
        if key == "Env":
            names = {text.partition("=")[0] for text in value}
            kept = [text for text in merged.get(key) or [] if text.partition("=")[0] not in names]
            merged[key] = [*kept, *value]
        elif isinstance(value, dict) and key != "Healthcheck":
            merged[key] = {**(merged.get(key) or {}), **value}
        else:
            merged[key] = value
    return merged


def apply(settings: Settings, instructions: tuple[str, ...]) -> Settings:
    """Settings (``config`` of image-spec config.md) with each instruction carried out.

    Raises:
        ConfigError: an instruction is unknown here, or its value makes no sense.
    """
    changed = dict(settings)
    for text in instructions:
        word, value = _split(text)
        if word not in _INSTRUCTIONS or not value:
            known = ", ".join(_INSTRUCTIONS)
            raise ConfigError(f"--change {text!r}: not an instruction with a value; known: {known}")
        _INSTRUCTIONS[word](changed, value)
    return changed


def _split(text: str) -> tuple[str, str]:
    """``CMD x`` and ``CMD=x`` are the same."""
    stripped = text.strip()
    word = ""
    for one in stripped:
        if not one.isalpha():
            break
        word += one
    return word.upper(), stripped[len(word) :].lstrip("= \t")


def _command(key: str) -> Callable[[Settings, str], None]:
    def change(settings: Settings, value: str) -> None:
        settings[key] = _words(value)

    return change


def _words(value: str) -> list[str]:
    """JSON's list, or a line for the shell."""
    try:
        listed = json.loads(value)
    except ValueError:
        return ["/bin/sh", "-c", value]
    if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
        return listed
    raise ConfigError(f"--change: {value}: not a list of strings")


def _pairs(value: str) -> list[tuple[str, str]]:
    """``a=1 b="x y"``, or ``a 1``."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ConfigError(f"--change: {value}: {error}") from error
    if words and "=" not in words[0]:
        name, _, rest = value.partition(" ")
        return [(name, rest.strip())]
    pairs = [word.partition("=") for word in words]
    if not all(name and equals for name, equals, _ in pairs):
        raise ConfigError(f"--change: {value}: not KEY=VALUE")
    return [(name, text) for name, _, text in pairs]


def _environment(settings: Settings, value: str) -> None:
    for name, text in _pairs(value):
        kept = [one for one in settings.get("Env") or [] if one.partition("=")[0] != name]
        settings["Env"] = [*kept, f"{name}={text}"]


def _labels(settings: Settings, value: str) -> None:
    settings["Labels"] = {**(settings.get("Labels") or {}), **dict(_pairs(value))}


def _ports(settings: Settings, value: str) -> None:
    ports = dict(settings.get("ExposedPorts") or {})
    for word in value.split():
        number, _, protocol = word.partition("/")
        if not number.isdigit() or not 0 < int(number) < 65536:
            raise ConfigError(f"--change: EXPOSE {word}: not a port")
        if protocol not in ("", "tcp", "udp", "sctp"):
            raise ConfigError(f"--change: EXPOSE {word}: not tcp, udp or sctp")
        ports[f"{number}/{protocol or 'tcp'}"] = {}
    settings["ExposedPorts"] = ports


def _volumes(settings: Settings, value: str) -> None:
    paths = _words(value) if value.startswith("[") else value.split()
    settings["Volumes"] = {**(settings.get("Volumes") or {}), **{path: {} for path in paths}}


def _text(key: str) -> Callable[[Settings, str], None]:
    def change(settings: Settings, value: str) -> None:
        settings[key] = value

    return change


def _on_build(settings: Settings, value: str) -> None:
    settings["OnBuild"] = [*(settings.get("OnBuild") or []), value]


_INSTRUCTIONS: dict[str, Callable[[Settings, str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _environment,
    "EXPOSE": _ports,
    "LABEL": _labels,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _text("StopSignal"),
    "USER": _text("User"),
    "VOLUME": _volumes,
    "WORKDIR": _text("WorkingDir"),
}
