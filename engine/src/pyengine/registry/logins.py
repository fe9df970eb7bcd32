"""Writing logins: what ``login`` and ``logout`` do to auth.json and to credential helpers."""

from __future__ import annotations

import base64
import json
import os

from pyengine.database.locks import DirectoryHold
from pyengine.errors import ConfigError, NotFoundError
from pyengine.registry import credentials, helpers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.registry.credentials import Login


def store(key: str, login: Login, auth_file: str | None) -> None:
    """Keep a login for a registry or a repository below it.

    Raises:
        ConfigError: the file cannot be written, or a helper fails.
    """
    path = auth_file or credentials.write_file()

    def change(content: dict[str, Any]) -> None:
        helper = _helper(content, key)
        if helper:
            helpers.store(helper, key, login)
            return
        pair = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        content.setdefault("auths", {})[key] = {"auth": pair}

    _rewrite(path, change)


def remove(key: str, auth_file: str | None) -> None:
    """Forget a login.

    Raises:
        NotFoundError: there is none.
        ConfigError: it is in another file, which login does not write.
    """
    path = auth_file or credentials.write_file()
    removed = False

    def change(content: dict[str, Any]) -> None:
        nonlocal removed
        helper = _helper(content, key)
        if helper:
            removed = helpers.erase(helper, key)
        else:
            removed = (content.get("auths") or {}).pop(key, None) is not None

    _rewrite(path, change)
    if removed:
        return
    if auth_file is None:
        for other in credentials.read_files():
            if key in (credentials.read(other, required=False).get("auths") or {}):
                raise ConfigError(
                    f"Not logged into {key} with current tool. Existing credentials were "
                    f"established via {other}: remove them with --authfile {other}"
                )
    raise NotFoundError(f"Not logged into {key}")


def remove_all(auth_file: str | None) -> None:
    """Forget every login of the file and of its helpers."""

    def change(content: dict[str, Any]) -> None:
        for helper in {content.get("credsStore"), *(content.get("credHelpers") or {}).values()}:
            for server in helpers.listed(str(helper)) if helper else []:
                helpers.erase(str(helper), server)
        content["auths"] = {}

    _rewrite(auth_file or credentials.write_file(), change)


def _helper(content: dict[str, Any], key: str) -> str:
    own = (content.get("credHelpers") or {}).get(key)
    return str(own or content.get("credsStore") or "")


def _rewrite(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Replace the file as a whole; only its owner may read it. Logins at once all stay."""
    staged = f"{path}.{os.urandom(8).hex()}"
    directory = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with DirectoryHold(directory):
            content = credentials.read(path, required=False)
            change(content)
            fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(content, file, indent="\t")
                file.flush()
                os.fsync(file.fileno())
            os.rename(staged, path)
    except OSError as error:
        raise ConfigError(f"write {path}: {error.strerror}") from error
