"""Credentials: auth.json (containers-auth.json(5)), Docker's config.json, helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os

from pyengine.config import user
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB_KEY = "https://index.docker.io/v1/"
_HUB_KEYS = ("docker.io", "index.docker.io", HUB_KEY)
# A helper that stores an identity token names this as the user.
_TOKEN_USER = "<token>"


class Login:
    """A user and a password, or an identity token in place of them."""

    __slots__ = ("password", "token", "user")

    def __init__(self, user: str, password: str, token: str = "") -> None:
        self.user, self.password, self.token = user, password, token

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Login):
            return NotImplemented
        mine, theirs = ((one.user, one.password, one.token) for one in (self, other))
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]  # never a key


def parse(text: str) -> Login:
    """``user:password`` of a ``--creds`` option."""
    user, _, password = text.partition(":")
    if not user:
        raise ConfigError("--creds: needs USER or USER:PASSWORD")
    return Login(user, password)


def find(repository: str, auth_file: str | None = None) -> Login | None:
    """The login for ``registry/path``: the longest key that it begins with wins.

    Raises:
        ConfigError: a file is not what it should be, or ``auth_file`` does not exist, or a
            helper fails.
    """
    for path in [auth_file] if auth_file else read_files():
        content = read(path, required=auth_file is not None)
        found = _find_in(content, repository, path)
        if found is not None:
            return found
    return None


def _find_in(content: dict[str, Any], repository: str, path: str) -> Login | None:
    helpers = content.get("credHelpers") or {}
    registry = repository.partition("/")[0]
    for key in keys(repository):
        if key in helpers:
            from pyengine.registry import helpers as programs

            return programs.get(str(helpers[key]), key)
        entry = (content.get("auths") or {}).get(key)
        if isinstance(entry, dict) and entry.get("identitytoken"):
            return Login(_TOKEN_USER, "", str(entry["identitytoken"]))
        if isinstance(entry, dict) and entry.get("auth"):
            return _decode(str(entry["auth"]), path, key)
    if content.get("credsStore"):
        from pyengine.registry import helpers as programs

        server = HUB_KEY if registry == "docker.io" else registry
        return programs.get(str(content["credsStore"]), server)
    return None


def keys(repository: str) -> list[str]:
    """Under what a repository's login may be kept, the longest first."""
    parts = repository.split("/")
    found = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return found + list(_HUB_KEYS if parts[0] == "docker.io" else [])


def write_file() -> str:
    """The auth.json that login writes when no option names one."""
    return os.environ.get("REGISTRY_AUTH_FILE") or _runtime_file()


def read_files() -> list[str]:
    """Where logins are looked for when no option names a file."""
    explicit = os.environ.get("REGISTRY_AUTH_FILE")
    if explicit:
        return [explicit]
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return [_runtime_file(), f"{config}/containers/auth.json", f"{docker}/config.json"]


def _runtime_file() -> str:
    run = os.environ.get("XDG_RUNTIME_DIR")
    if run:
        return f"{run}/containers/auth.json"
    return f"/run/containers/{user.user_id()}/auth.json"


def read(path: str, *, required: bool) -> dict[str, Any]:
    """A whole file; empty where there is none.

    Raises:
        ConfigError: it cannot be read or is no auth.json.
    """
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
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a JSON object")
    for key in ("auths", "credHelpers"):
        if not isinstance(content.get(key) or {}, dict):
            raise ConfigError(f"{path}: /{key}: not a JSON object")
    return content


def _decode(auth: str, path: str, key: str) -> Login:
    try:
        user, separator, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        separator = ""
    if not separator:
        raise ConfigError(f"{path}: /auths/{key}/auth: not base64 of user:password")
    return Login(user, password.rstrip("\0"))
