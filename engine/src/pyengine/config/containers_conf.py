"""containers.conf (containers.conf(5)): TOML files, each overriding the keys of those before it."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def files() -> list[str]:
    """The files that apply and exist, in the order in which they override each other."""
    only = os.environ.get("CONTAINERS_CONF")
    override = os.environ.get("CONTAINERS_CONF_OVERRIDE")
    last = [override] if override else []
    if only:
        return [only, *last]
    found = ["/usr/share/containers/containers.conf", "/etc/containers/containers.conf"]
    found += _drop_ins("/etc/containers/containers.conf.d")
    if os.geteuid() != 0:
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        found.append(f"{base}/containers/containers.conf")
        found += _drop_ins(f"{base}/containers/containers.conf.d")
    return [path for path in found if os.path.exists(path)] + last


def load() -> dict[str, dict[str, Any]]:
    """All tables merged; empty where no file exists (and then TOML costs nothing).

    Raises:
        ConfigError: a file cannot be read or is not TOML.
    """
    merged: dict[str, dict[str, Any]] = {}
    for path in files():
        for table, values in _read(path).items():
            if isinstance(values, dict):
                merged.setdefault(table, {}).update(values)
    return merged


def _drop_ins(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [f"{directory}/{name}" for name in names if name.endswith(".conf")]


def _read(path: str) -> dict[str, Any]:
    # Distributions ship a file in which every line is a comment: not worth 12 ms of tomllib.
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"read {path}: {error.strerror}") from error
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in text.splitlines()):
        return {}
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
