"""Docker's credential helpers: programs that keep logins (``docker-credential-NAME``)."""

from __future__ import annotations

import json
import subprocess

from pyengine.errors import ConfigError
from pyengine.registry.credentials import Login

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_FOUND = ("credentials not found", "no credentials", "credentials empty")
_TOKEN_USER = "<token>"


def get(name: str, server: str) -> Login | None:
    """What a helper has for a server, or None.

    Raises:
        ConfigError: there is no such helper, or it fails.
    """
    answer = _call(name, "get", server)
    if answer is None:
        return None
    try:
        fields: dict[str, Any] = json.loads(answer)
        user, secret = str(fields["Username"]), str(fields["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"docker-credential-{name} get: not a login: {error}") from error
    return Login(user, "", secret) if user == _TOKEN_USER else Login(user, secret)


def store(name: str, server: str, login: Login) -> None:
    """Give a login to a helper."""
    fields = {"ServerURL": server, "Username": login.user, "Secret": login.password}
    _call(name, "store", json.dumps(fields))


def erase(name: str, server: str) -> bool:
    """Make a helper forget a login; whether it had one."""
    return _call(name, "erase", server) is not None


def listed(name: str) -> list[str]:
    """The servers that a helper has a login for."""
    answer = _call(name, "list", "")
    try:
        return list(json.loads(answer or "{}"))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"docker-credential-{name} list: not JSON: {error}") from error


def _call(name: str, action: str, given: str) -> str | None:
    """The helper's output; None when it has no such login."""
    program = f"docker-credential-{name}"
    if "/" in name:
        raise ConfigError(f"{program}: a helper's name has no slash")
    try:
        done = subprocess.run(
            [program, action], input=given, capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"run {program} {action}: {reason}; install it or correct auth.json"
        raise ConfigError(problem) from error
    if done.returncode == 0:
        return done.stdout
    problem = (done.stdout + done.stderr).strip()
    if any(words in problem.lower() for words in _NOT_FOUND):
        return None
    raise ConfigError(f"{program} {action}: {problem or f'exit status {done.returncode}'}")
