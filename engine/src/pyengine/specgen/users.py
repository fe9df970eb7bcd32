"""Who the container's process runs as: ``--user`` looked up in the image's own files.

The image is untrusted, so its /etc is opened with ``RESOLVE_IN_ROOT``: a link cannot lead out.
"""

from __future__ import annotations

import errno
import os

from pyengine import syscalls
from pyengine.errors import CommandNotExecutableError, ConfigError

MAX_FILE_BYTES = 4 << 20


class User:
    """The identity that config.json's ``process.user`` asks for."""

    __slots__ = ("additional_gids", "gid", "home", "uid")

    def __init__(self, uid: int, gid: int, home: str, additional_gids: list[int]) -> None:
        self.uid, self.gid, self.home, self.additional_gids = uid, gid, home, additional_gids


def look_up(root_fd: int, spec: str) -> User:
    """Resolve ``USER[:GROUP]``, each a name or a number; an empty ``spec`` is root.

    Raises:
        CommandNotExecutableError: a name is not in the image's passwd or group file.
    """
    user, colon, group = spec.partition(":")
    passwd = _lines(root_fd, "etc/passwd", 7)
    wanted = user or "0"
    entry = _find(passwd, wanted)
    if entry is None and not wanted.isdecimal():
        raise CommandNotExecutableError(
            f"unable to find user {wanted}: no matching entries in passwd file"
        )
    uid = int(entry[2]) if entry else _number(wanted)
    gid, home, name = (int(entry[3]), entry[5] or "/", entry[0]) if entry else (0, "/", "")
    groups = _lines(root_fd, "etc/group", 3)
    additional = []
    if colon and group:
        found = _find(groups, group)
        if found is None and not group.isdecimal():
            raise CommandNotExecutableError(
                f"unable to find group {group}: no matching entries in group file"
            )
        gid = int(found[2]) if found else _number(group)
    elif name:
        members = [line for line in groups if len(line) > 3 and name in line[3].split(",")]
        additional = sorted({int(line[2]) for line in members if line[2].isdecimal()})
    return User(uid, gid, home, additional)


def is_root(spec: str) -> bool:
    """Whether ``--user`` names root, as the capability rules ask."""
    return spec.partition(":")[0] in ("", "0", "root")


def _number(text: str) -> int:
    number = int(text)
    if number >= 2**31:
        raise ConfigError(f"user or group id {text}: must be below 2147483648")
    return number


def _find(lines: list[list[str]], wanted: str) -> list[str] | None:
    """The entry of this name, or of this number; a name wins, as in getpwnam(3) users."""
    for line in lines:
        if line[0] == wanted:
            return line
    if wanted.isdecimal():
        for line in lines:
            if line[2] == wanted:
                return line
    return None


def _lines(root_fd: int, path: str, least_fields: int) -> list[list[str]]:
    """The well-formed lines of a colon-separated file of the image; none if it has no such file."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = syscalls.openat2(root_fd, path, flags, resolve=syscalls.RESOLVE_CONFINED)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []
        raise
    with open(fd, "rb") as file:
        try:
            text = file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise ConfigError(f"read /{path} of the image: {error.strerror}") from error
    fields = [line.split(":") for line in text.splitlines() if not line.startswith("#")]
    return [
        line
        for line in fields
        if len(line) >= least_fields
        and line[2].isdecimal()
        and (least_fields < 4 or line[3].isdecimal())
    ]
