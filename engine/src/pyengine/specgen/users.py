"""Who the container's process runs as: ``--user`` looked up in the image's own files.

The image is untrusted, so its /etc is opened with ``RESOLVE_IN_ROOT``: a link cannot lead out.
"""

from __future__ import annotations

import errno
import os
import stat

from pyengine import syscalls
from pyengine.errors import CommandNotExecutableError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FILE_BYTES = 4 << 20
MAX_ID = 2**31 - 1


class User:
    """The identity that config.json's ``process.user`` asks for."""

    __slots__ = ("additional_gids", "gid", "group", "group_known", "home", "known", "uid")

    def __init__(
        self, uid: int, gid: int, home: str, additional_gids: list[int], *, known: bool,
        group: int, group_known: bool,
    ) -> None:  # fmt: skip
        """``group`` is the one that belongs to the user's own line in /etc/group."""
        self.uid, self.gid, self.home, self.additional_gids = uid, gid, home, additional_gids
        self.known, self.group, self.group_known = known, group, group_known


def look_up(root_fd: int, spec: str, more: Iterable[str] = ()) -> User:
    """Resolve ``USER[:GROUP]``, each a name or a number; an empty ``spec`` is root.

    ``more`` are lines as in /etc/passwd, for users that it does not have.

    Raises:
        CommandNotExecutableError: a name is not in the image's passwd or group file.
    """
    user, colon, group = spec.partition(":")
    passwd = [*_lines(root_fd, "etc/passwd", 7), *(line.split(":") for line in more)]
    wanted = user or "0"
    entry = _find(passwd, wanted)
    if entry is None and not _is_number(wanted):
        raise CommandNotExecutableError(
            f"unable to find user {wanted}: no matching entries in passwd file"
        )
    uid = int(entry[2]) if entry else _number(wanted)
    gid, home, name = (int(entry[3]), entry[5] or "/", entry[0]) if entry else (0, "/", "")
    groups = _lines(root_fd, "etc/group", 3)
    additional = []
    if colon and group:
        found = _find(groups, group)
        if found is None and not _is_number(group):
            raise CommandNotExecutableError(
                f"unable to find group {group}: no matching entries in group file"
            )
        gid = int(found[2]) if found else _number(group)
    elif name:
        members = [line for line in groups if len(line) > 3 and name in line[3].split(",")]
        additional = [int(line[2]) for line in members]
    # The group is among the additional ones too, so that a process that gives up its group cannot
    # leave it behind and pass where the group is refused (CVE-2022-2989).
    own = gid if (colon and group) or entry else uid
    return User(
        uid, gid, home, sorted({gid, *additional} if spec else additional),
        known=entry is not None, group=own,
        group_known=not own or any(line[2] == str(own) for line in groups),
    )  # fmt: skip


def group_id(root_fd: int, name: str) -> int:
    """The number of a group of the image, or the number that ``name`` is.

    Raises:
        CommandNotExecutableError: there is no such group.
    """
    found = _find(_lines(root_fd, "etc/group", 3), name)
    if found is None and not _is_number(name):
        raise CommandNotExecutableError(
            f"unable to find group {name}: no matching entries in group file"
        )
    return int(found[2]) if found else _number(name)


def names_by_id(root_fd: int, path: str) -> dict[int, str]:
    """The names in ``etc/passwd`` or ``etc/group``; the first of each number counts."""
    lines = reversed(_lines(root_fd, path, 3))
    return {int(line[2]): line[0] for line in lines if _is_id(line[2])}


def numbers(root_fd: int, path: str, *, without: tuple[str, ...]) -> set[int]:
    """Every id in ``etc/passwd`` or ``etc/group``, but those of some names."""
    least_fields, columns = (7, (2, 3)) if path == "etc/passwd" else (3, (2,))
    lines = _lines(root_fd, path, least_fields)
    return {int(line[column]) for line in lines for column in columns if line[0] not in without}


def is_root(spec: str) -> bool:
    """Whether ``--user`` names root, as the capability rules ask."""
    return spec.partition(":")[0] in ("", "0", "root")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _number(text: str) -> int:
    if not _is_id(text):
        raise ConfigError(f"user or group id {text[:20]}: must be below {MAX_ID + 1}")
    return int(text)


def _is_id(text: str) -> bool:
    return _is_number(text) and len(text) <= len(str(MAX_ID)) and int(text) <= MAX_ID


def _find(lines: list[list[str]], wanted: str) -> list[str] | None:
    """The entry of this name, or of this number; a name wins, as in getpwnam(3) users."""
    for line in lines:
        if line[0] == wanted:
            return line
    if _is_number(wanted):
        for line in lines:
            if line[2] == wanted:
                return line
    return None


def _lines(root_fd: int, path: str, least_fields: int) -> list[list[str]]:
    """The well-formed lines of a colon-separated file of the image; none if it has no such file.

    A directory, a device or a fifo in its place, which a container may leave there, is no file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = syscalls.openat2(root_fd, path, flags, resolve=syscalls.RESOLVE_CONFINED)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO):
            return []
        raise ConfigError(f"open /{path} of the image: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        text = os.read(fd, MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"read /{path} of the image: {error.strerror}") from error
    finally:
        os.close(fd)
    fields = [line.split(":") for line in text.splitlines() if not line.startswith("#")]
    return [
        line
        for line in fields
        if len(line) >= least_fields and _is_id(line[2]) and (least_fields < 4 or _is_id(line[3]))
    ]
