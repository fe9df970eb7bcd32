"""Credentials for registries from auth.json (containers-auth.json(5)) and Docker's config.json."""

from __future__ import annotations

import base64
import binascii
import json
import os

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HUB_KEYS = ("docker.io", "index.docker.io", "https://index.docker.io/v1/")


def parse(text: str) -> tuple[str, str]:
    """``user:password`` of a ``--creds`` option."""
    user, _, password = text.partition(":")
    if not user:
        raise ConfigError("--creds: needs USER or USER:PASSWORD")
    return user, password


def find(repository: str, auth_file: str | None = None) -> tuple[str, str] | None:
    """User and password for ``registry/path``: the longest key that it begins with wins.

    Raises:
        ConfigError: a file is not what it should be, or ``auth_file`` does not exist.
    """
    for path in [auth_file] if auth_file else _default_files():
        auths = _read(path, required=auth_file is not None)
        for key in _keys(repository):
            entry = auths.get(key)
            if isinstance(entry, dict) and entry.get("auth"):
                return _decode(str(entry["auth"]), path, key)
    return None


def _keys(repository: str) -> list[str]:
    parts = repository.split("/")
    keys = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return keys + list(_HUB_KEYS if parts[0] == "docker.io" else [])


def _default_files() -> list[str]:
    explicit = os.environ.get("REGISTRY_AUTH_FILE")
    if explicit:
        return [explicit]
    run = os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}"
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return [
        f"{run}/containers/auth.json",
        f"{config}/containers/auth.json",
        f"{docker}/config.json",
    ]


def _read(path: str, *, required: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
    except FileNotFoundError as error:
        if required:
            raise ConfigError(f"read {path}: {error.strerror}") from error
        return {}
    except OSError as error:
        raise ConfigError(f"read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    auths = content.get("auths") if isinstance(content, dict) else None
    return auths if isinstance(auths, dict) else {}


def _decode(auth: str, path: str, key: str) -> tuple[str, str]:
    try:
        user, separator, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        separator = ""
    if not separator:
        raise ConfigError(f"{path}: /auths/{key}/auth: not base64 of user:password")
    return user, password
