"""Who keeps the data of secrets: files of ours, the password store pass(1), or the user's commands.

Each driver stores, loads and removes data by a secret's id; removing what is not there is fine.
"""

from __future__ import annotations

import os

from pyengine.errors import ConfigError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Driver(Protocol):
        """What every driver does; ``options`` are kept with the secret."""

        options: dict[str, str]

        def store(self, id_: str, data: bytes) -> None:
            """Keep the data."""

        def load(self, id_: str) -> bytes:
            """The data."""

        def remove(self, id_: str) -> None:
            """Forget the data."""


TIMEOUT_S = 60


def make(root: str, name: str, options: dict[str, str]) -> Driver:
    """The driver of this name.

    Raises:
        ConfigError: there is none, or an option is wrong.
    """
    if name == "file":
        return _Files(root, options)
    if name == "pass":
        return _Pass(options)
    if name == "shell":
        return _Shell(options)
    raise ConfigError(f'invalid driver "{name}": use file, pass or shell')


def _refuse_unknown(name: str, options: dict[str, str], known: tuple[str, ...]) -> None:
    for option in options:
        if option not in known:
            raise ConfigError(f'invalid {name} driver option: "{option}": use {", ".join(known)}')


class _Files:
    """One file each, for root alone, in a directory of ours or the one of the option ``path``."""

    def __init__(self, root: str, options: dict[str, str]) -> None:
        _refuse_unknown("file", options, ("path",))
        self._directory = options.get("path") or f"{root}/secrets/filedriver"
        self.options = {"path": self._directory}

    def store(self, id_: str, data: bytes) -> None:
        """Durable when this returns."""
        path = f"{self._directory}/{id_}"
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
        except OSError as error:
            raise StorageError(f"store secret in {path}: {error.strerror}") from error

    def load(self, id_: str) -> bytes:
        try:
            with open(f"{self._directory}/{id_}", "rb") as file:
                return file.read()
        except OSError as error:
            raise StorageError(
                f"load secret from {self._directory}/{id_}: {error.strerror}"
            ) from error

    def remove(self, id_: str) -> None:
        try:
            os.unlink(f"{self._directory}/{id_}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(
                f"remove secret {self._directory}/{id_}: {error.strerror}"
            ) from error


class _Pass:
    """Files encrypted with gpg(1), as pass(1) keeps them: ``root``/ID.gpg for ``key``."""

    def __init__(self, options: dict[str, str]) -> None:
        _refuse_unknown("pass", options, ("gpghomedir", "key", "root"))
        home = os.environ.get("PASSWORD_STORE_DIR") or os.path.expanduser("~/.password-store")
        self._root = options.get("root") or home
        key = options.get("key") or _first_line(f"{self._root}/.gpg-id")
        if not key:
            raise ConfigError(
                f"pass driver: no key: give --driver-opts key=ID, or {self._root}/.gpg-id"
            )
        self.options = {**options, "root": self._root, "key": key}

    def store(self, id_: str, data: bytes) -> None:
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        command = ["--encrypt", "--yes", "--trust-model", "always", "-r", self.options["key"],
                   "-o", self._path(id_)]  # fmt: skip
        self._gpg("store", command, data)

    def load(self, id_: str) -> bytes:
        return self._gpg("load", ["--decrypt", self._path(id_)], b"")

    def remove(self, id_: str) -> None:
        try:
            os.unlink(self._path(id_))
        except FileNotFoundError:
            return

    def _path(self, id_: str) -> str:
        return f"{self._root}/{id_}.gpg"

    def _gpg(self, step: str, words: list[str], data: bytes) -> bytes:
        home = self.options.get("gpghomedir")
        options = ["--homedir", home] if home else []
        return _run(f"{step} secret with gpg", ["gpg", "--batch", "--quiet", *options, *words],
                    data, {})  # fmt: skip


class _Shell:
    """Four commands for sh(1), which find the secret's id in ``$SECRET_ID``."""

    def __init__(self, options: dict[str, str]) -> None:
        needed = ("delete", "list", "lookup", "store")
        _refuse_unknown("shell", options, needed)
        for name in needed:
            if not options.get(name):
                raise ConfigError(f'missing config value: "{name}": the shell driver needs'
                                  f" {', '.join(needed)}")  # fmt: skip
        self.options = options

    def store(self, id_: str, data: bytes) -> None:
        self._call("store", id_, data)

    def load(self, id_: str) -> bytes:
        return self._call("lookup", id_, b"")

    def remove(self, id_: str) -> None:
        if id_ in self._call("list", id_, b"").decode("utf-8", "replace").split():
            self._call("delete", id_, b"")

    def _call(self, name: str, id_: str, data: bytes) -> bytes:
        command = ["/bin/sh", "-c", self.options[name]]
        return _run(f"shell driver's {name} of secret {id_}", command, data, {"SECRET_ID": id_})


def _run(step: str, command: list[str], data: bytes, environment: dict[str, str]) -> bytes:
    import subprocess

    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False,
                              timeout=TIMEOUT_S, env={**os.environ, **environment})  # fmt: skip
    except OSError as error:
        raise StorageError(f"{step}: {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise StorageError(f"{step}: it did not end within {TIMEOUT_S} seconds") from error
    if done.returncode != 0:
        why = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise StorageError(f"{step}: exit status {done.returncode}: {why}")
    return done.stdout


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except FileNotFoundError:
        return ""
