"""``image scp``: images between this store, those of other users, and other machines over ssh."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import sys
import tempfile
import urllib.parse

from pyengine.errors import ConfigError, StorageError
from pyengine.images import archives, saving
from pyengine.images.transports import tarfiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from pyengine.images.store import Images

_LOCAL = "localhost"
# On another machine whichever of these is there does the work.
_PROGRAMS = ("podman", "pyengine")


class End:
    """One side: a program that writes or reads an archive, or this process itself.

    Attributes:
        image: on this side; empty for a destination.
        label: names it in messages.
    """

    def __init__(self, label: str, image: str, command: list[str] | None, user: str = "") -> None:
        """``command`` stands before the words of save and load; None is this process."""
        self.label, self.image = label, image
        self._command, self._user = command, user

    def save(
        self, images: Images, file: IO[bytes], form: str, report: Callable[[str], None]
    ) -> None:
        """Write the image's archive; ``form`` is one of ``saving.FORMATS``.

        Raises:
            NotFoundError: it is not in this store.
            StorageError: the program failed; it has said why.
        """
        if self._command is None:
            saving.save(images, [self.image], form, file, report)
            file.flush()
            return
        self._run(["save", "--quiet", "--format", form, self.image], stdout=file)

    def load(self, images: Images, file: IO[bytes], report: Callable[[str], None]) -> list[str]:
        """Read an archive; the names of what it held, where this process read it.

        Raises:
            ArchiveError: it is broken.
            StorageError: the program failed; it has said why.
        """
        file.seek(0)
        if self._command is None:
            archive = tarfiles.Archive(file.fileno(), f"load image from {self.label}")
            loaded = archives.load(images, archive, report)
            return [name for names, image_id in loaded for name in names or [f"sha256:{image_id}"]]
        self._run(["load"], stdin=file)
        return []

    def _run(self, words: list[str], **streams: Any) -> None:
        assert self._command is not None
        command = [*self._command, *words]
        if self._command[0] == "ssh":
            words_there = " ".join(map(shlex.quote, words))
            tries = "; ".join(
                f"if command -v {one} >/dev/null; then exec {one} {words_there}; fi"
                for one in _PROGRAMS
            )
            missing = f"echo none of {', '.join(_PROGRAMS)} is on this machine >&2; exit 127"
            command = [*self._command, f"{tries}; {missing}"]
        account = _account(self._user) if self._user else None
        try:
            done = subprocess.run(
                command, check=False, **streams, **({} if account is None else _as_user(account))
            )
        except OSError as error:
            raise StorageError(f"{self.label}: run {command[0]}: {error.strerror}") from error
        if done.returncode != 0:
            raise StorageError(
                f"{self.label}: {words[0]} failed there with status {done.returncode}"
            )


def transfer(
    images: Images, source: End, destination: End, form: str, report: Callable[[str], None]
) -> list[str]:
    """Move an image; the names of what was loaded into this store.

    Raises:
        ConfigError: the sides do not fit together.
        StorageError: or another error of saving and loading.
    """
    if not source.image:
        raise ConfigError(f"image scp: {source.label} needs the name of an image")
    if destination.image:
        raise ConfigError(
            f"image scp: {destination.label}::{destination.image}: cannot specify an image rename"
        )
    with tempfile.TemporaryFile(dir=f"{images.storage.root}/staging") as file:
        source.save(images, file, form, report)
        return destination.load(images, file, report)


def end(text: str, destinations: dict[str, Any]) -> End:
    """Understand ``IMAGE``, ``[USER@]localhost::IMAGE`` or ``HOST::IMAGE``.

    Args:
        text: one side.
        destinations: of containers.conf (``[engine.service_destinations]``), by name.

    Raises:
        ConfigError: another user's store cannot be reached, or the address is none.
    """
    place, colons, image = text.partition("::")
    if not colons:
        return End("this store", text, None)
    user, at, host = place.rpartition("@")
    if host == _LOCAL or not place:
        if not at or user == pwd.getpwuid(os.getuid()).pw_name:
            return End("this store", image, None)
        if os.getuid() != 0:
            raise ConfigError(f"image scp {text}: only root can use the store of user {user}")
        main = os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py")
        _account(user)
        return End(f"user {user}", image, [sys.executable, "-I", "-S", main], user)
    return End(place, image, _ssh(place, destinations))


def _ssh(place: str, destinations: dict[str, Any]) -> list[str]:
    known = destinations.get(place) or {}
    uri = str(known.get("uri") or f"ssh://{place.removeprefix('ssh://')}")
    address = urllib.parse.urlsplit(uri)
    try:
        port = address.port
    except ValueError as error:
        raise ConfigError(f"image scp {place}: {error}") from error
    if address.scheme != "ssh" or not address.hostname or address.hostname.startswith("-"):
        raise ConfigError(f"image scp {place}: {uri} is no address that ssh reaches")
    command = ["ssh"]
    if port:
        command += ["-p", str(port)]
    if known.get("identity"):
        command += ["-i", str(known["identity"])]
    user = f"{address.username}@" if address.username else ""
    return [*command, "--", f"{user}{address.hostname}"]


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"image scp: there is no user {user}") from error


def _as_user(account: pwd.struct_passwd) -> dict[str, Any]:
    """What subprocess takes to run something as if that user had logged in."""
    environment = {
        "HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name,
        "PATH": os.environ.get("PATH", os.defpath),
    }  # fmt: skip
    run = f"/run/user/{account.pw_uid}"
    if os.path.isdir(run):
        environment["XDG_RUNTIME_DIR"] = run
    return {
        "user": account.pw_uid, "group": account.pw_gid,
        "extra_groups": os.getgrouplist(account.pw_name, account.pw_gid),
        "env": environment, "cwd": "/",
    }  # fmt: skip
