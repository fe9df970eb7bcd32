"""Simple signatures (containers-signature(5)): made and verified by gpg itself."""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import subprocess
import tempfile

from pyengine.errors import ConfigError, TrustError
from pyengine.images.trust import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from pyengine.images.trust.payload import Signed

_TYPE = "atomic container signature"
_MAX_BYTES = 4 << 20
_TIMEOUT_S = 60
_BAD = ("BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA", "UNEXPECTED")
_SOURCES = ("keyPath", "keyPaths", "keyData")


def check_requirement(requirement: dict[str, Any], where: str) -> None:
    """Check a ``signedBy``.

    Raises:
        ConfigError: something in it is unknown, or it names no key or several ways.
    """
    unknown = set(requirement) - {"type", "keyType", "signedIdentity", *_SOURCES}
    if unknown:
        raise ConfigError(f"{where}: unknown key {sorted(unknown)[0]}")
    if requirement.get("keyType") != "GPGKeys":
        raise ConfigError(f"{where}/keyType: {requirement.get('keyType')!r}, only GPGKeys works")
    given = [key for key in _SOURCES if key in requirement]
    if len(given) != 1:
        raise ConfigError(f"{where}: one of {', '.join(_SOURCES)} must be there")
    value = requirement[given[0]]
    if given[0] == "keyPaths":
        good = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    else:
        good = isinstance(value, str) and bool(value)
    if not good:
        raise ConfigError(f"{where}/{given[0]}: {value!r} names no key")


class Keyring:
    """A gpg home of its own with the keys of one requirement and no others."""

    def __init__(self, requirement: dict[str, Any], where: str) -> None:
        self._requirement, self._where = requirement, where
        self._home = ""

    def __enter__(self) -> Keyring:
        """Import the keys.

        Raises:
            ConfigError: one cannot be read, or is none.
        """
        self._home = tempfile.mkdtemp(prefix="pyengine-keys-")
        try:
            for name, data in self._keys():
                done = _gpg(["--homedir", self._home, "--import"], data)
                if done.returncode != 0:
                    raise ConfigError(f"{self._where}: import key {name}: {_problem(done)}")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Remove the home."""
        self._remove()

    def verify(self, signature: bytes) -> Signed:
        """What a signature says, if one of the keys made it.

        Raises:
            TrustError: none did, it has expired, or it is no signature of an image.
        """
        command = ["--homedir", self._home, "--trust-model", "always", "--status-fd", "2",
                   "--decrypt"]  # fmt: skip
        done = _gpg(command, signature)
        lines = done.stderr.decode("utf-8", "replace").splitlines()
        words = [line.split()[1:] for line in lines if line.startswith("[GNUPG:] ")]
        kinds = [word[0] for word in words if word]
        bad = [kind for kind in kinds if kind in _BAD]
        if done.returncode != 0 or bad or kinds.count("VALIDSIG") != 1:
            reason = {
                "BADSIG": "it is damaged", "ERRSIG": "it is made by another key",
                "EXPSIG": "it has expired", "EXPKEYSIG": "its key has expired",
                "REVKEYSIG": "its key was revoked",
            }.get(bad[0] if bad else "", "it is no signature")  # fmt: skip
            raise TrustError(reason)
        valid = next(word for word in words if word and word[0] == "VALIDSIG")
        return payload.read(done.stdout, _TYPE, valid[1])

    def users(self) -> list[str]:
        """Whose keys are in it."""
        done = _gpg(["--homedir", self._home, "--with-colons", "--list-keys"], b"")
        names = []
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            if line.startswith("uid:"):
                name = line.split(":")[9]
                names.append(name.partition("<")[2].rstrip(">") or name)
        return names

    def _keys(self) -> list[tuple[str, bytes]]:
        if "keyData" in self._requirement:
            try:
                data = base64.b64decode(self._requirement["keyData"], validate=True)
            except binascii.Error as error:
                raise ConfigError(f"{self._where}: keyData: not base64") from error
            return [("keyData", data)]
        paths = self._requirement.get("keyPaths") or [self._requirement["keyPath"]]
        found = []
        for path in paths:
            try:
                with open(path, "rb") as file:
                    found.append((path, file.read(_MAX_BYTES)))
            except OSError as error:
                raise ConfigError(f"{self._where}: read key {path}: {error.strerror}") from error
        return found

    def _remove(self) -> None:
        if shutil.which("gpgconf"):  # ends the agent that gpg may have started for this home
            subprocess.run(
                ["gpgconf", "--homedir", self._home, "--kill", "all"],
                check=False, capture_output=True, timeout=_TIMEOUT_S,
            )  # fmt: skip
        shutil.rmtree(self._home, ignore_errors=True)


def users(requirement: dict[str, Any]) -> list[str]:
    """The mail addresses, or else the names, of a requirement's keys.

    Raises:
        ConfigError: a key cannot be read.
    """
    with Keyring(requirement, "signedBy") as keyring:
        return keyring.users()


def sign(digest: str, reference: str, key: str, passphrase_file: str | None = None) -> bytes:
    """A signature by a key of the user's own gpg home (``GNUPGHOME``).

    Raises:
        TrustError: gpg cannot make it.
    """
    command = ["--local-user", key, "--sign"]
    if passphrase_file:
        command = ["--pinentry-mode", "loopback", "--passphrase-file", passphrase_file, *command]
    done = _gpg(command, payload.make(_TYPE, digest, reference), home=os.environ.get("GNUPGHOME"))
    if done.returncode != 0:
        raise TrustError(f"sign {reference} with key {key}: {_problem(done)}")
    return done.stdout


def _gpg(
    options: list[str], data: bytes, home: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    if home:
        environment["GNUPGHOME"] = home
    command = ["gpg", "--batch", "--no-tty", "--quiet", *options]
    try:
        return subprocess.run(
            command, input=data, capture_output=True, check=False, env=environment,
            timeout=_TIMEOUT_S,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ConfigError("signatures need the program gpg; install it (Debian: gpg)") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"gpg did not end within {_TIMEOUT_S} s") from error


def _problem(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("gpg: ") if lines else f"exit status {done.returncode}"
