"""What ``--volume``, ``--tmpfs`` and ``--volumes-from`` may say, and what it means.

``--mount`` is in ``mount_arguments.py``: fewer containers have one.
"""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.specgen.options import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyengine.specgen.types import Volume

PROPAGATION = {
    "shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable",
}  # fmt: skip
# Of each group one word may be given; podman's description of the group.
GROUPS = (
    ({"rw", "ro"}, "'rw' or 'ro'"),
    ({"z", "Z", "O"}, "'z', 'Z', or 'O'"),
    (PROPAGATION, "'[r]shared', '[r]private', '[r]slave' or '[r]unbindable'"),
    ({"bind", "rbind"}, "'[r]bind'"),
    ({"exec", "noexec"}, "'noexec' or 'exec'"),
    ({"dev", "nodev"}, "'nodev' or 'dev'"),
    ({"suid", "nosuid"}, "'nosuid' or 'suid'"),
    ({"copy", "nocopy"}, "'copy' or 'nocopy'"),
    ({"U"}, "'U'"),
    ({"idmap"}, "'idmap'"),
)
# What is the engine's to do, and no option of the mount itself.
OURS = {"z", "Z", "O", "U", "copy", "nocopy"}
TMPFS_FLAGS = {
    "ro", "rw", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "tmpcopyup", "notmpcopyup",
    "noswap", "U", *PROPAGATION,
}  # fmt: skip
TMPFS_GROUPS = (*GROUPS, ({"tmpcopyup", "notmpcopyup"}, "'tmpcopyup' or 'notmpcopyup'"))
# What a systemd in the container writes to.
SYSTEMD_TMPFS = ("/run", "/run/lock", "/tmp", "/var/log/journal")
TMPFS_VALUES = r"size=\d+[kmgKMG%]?|mode=[0-7]+|nr_inodes=\d+[kmgKMG]?|[ug]id=\d+"


def volume(text: str) -> Volume:
    """``[SOURCE:]DESTINATION[:OPTIONS]``; a source without a slash is a named volume.

    Without a source it is an anonymous volume, whose name is left to ``configure``.

    Raises:
        ConfigError: the form, a path, a name or an option is wrong.
    """
    pieces = _pieces(text)
    if len(pieces) > 3:
        raise ConfigError(
            f"--volume {text}: incorrect volume format, should be [host-dir:]ctr-dir[:option]"
        )
    source, destination = ("", pieces[0]) if len(pieces) == 1 else (pieces[0], pieces[1])
    if not destination:
        raise ConfigError(f"--volume {text}: container directory cannot be empty")
    if len(pieces) > 1 and not source:
        raise ConfigError(f"--volume {text}: host directory cannot be empty")
    what = f"--volume {text}"
    check_destination(what, destination)
    options = pieces[2].split(",") if len(pieces) == 3 else []
    return make(what, source, destination, options)


def _pieces(text: str) -> list[str]:
    """At colons; a backslash before one makes it part of a path."""
    pieces = [""]
    for piece in text.split(":"):
        pieces[-1] += piece
        if piece.endswith("\\"):
            pieces[-1] = f"{pieces[-1][:-1]}:"
        else:
            pieces.append("")
    return pieces[:-1] if not pieces[-1] else pieces


def make(what: str, source: str, destination: str, options: list[str]) -> Volume:
    """The mount that a source and option words mean; ``what`` begins the messages.

    Raises:
        ConfigError: a word is unknown, or two of them exclude each other.
    """
    if "O" in options:
        _check_overlay(what, options)
    check_groups(what, options, GROUPS)
    named = not source.startswith(("/", "."))
    if named and source and not is_name(source):
        raise ConfigError(
            f'{what}: creating named volume "{source}": running volume create option: names must'
            " match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument"
        )
    flags = [word for word in options if word not in OURS and not _is_directory(word)]
    if named:
        flags += [flag for flag in ("nosuid", "nodev") if flag[2:] not in options]
    found: Volume = {
        "source": "" if named else os.path.abspath(source),
        "name": source if named else "",
        "destination": destination,
        "options": bind_options(flags),
    }
    if named and not source:
        found["anonymous"] = True
    if "nocopy" in options:
        found["copy"] = False
    if "U" in options:
        found["chown"] = True
    if relabel := {"z", "Z"} & set(options):
        found["relabel"] = relabel.pop()
    if "O" in options:
        given = dict(word.partition("=")[::2] for word in options if _is_directory(word))
        found["overlay"] = {name: os.path.abspath(path) for name, path in given.items()}
    return found


def _is_directory(word: str) -> bool:
    return word.startswith(("upperdir=", "workdir="))


def _check_overlay(what: str, options: list[str]) -> None:
    given = {word.partition("=")[0] for word in options if _is_directory(word)}
    if any(word not in ("O", "U") and not _is_directory(word) for word in options):
        raise ConfigError(
            f"{what}: can't use 'O' with other options than U, upperdir=DIR and workdir=DIR"
        )
    if len(given) == 1:
        raise ConfigError(f"{what}: must set both `upperdir` and `workdir`")


def check_groups(
    what: str, options: Iterable[str], groups: tuple[tuple[set[str], str], ...]
) -> None:
    """See that every word is known and that none excludes another.

    Raises:
        ConfigError: not so.
    """
    counted: dict[str, list[str]] = {}
    for word in options:
        bare = "idmap" if word.startswith("idmap=") else word
        for known, description in groups:
            if bare in known:
                counted.setdefault(description, []).append(word)
                break
        else:
            if not ("O" in options and _is_directory(word)):
                raise ConfigError(f'{what}: invalid option type "{word}": invalid mount option')
    for description, words in counted.items():
        if len(words) > 1:
            raise ConfigError(
                f'{what}: invalid options "{", ".join(words)}", can only specify 1 {description}'
                " option"
            )


def bind_options(options: list[str]) -> list[str]:
    """The mount options: recursive and private unless said otherwise."""
    given = set(options)
    found = list(options)
    if not {"ro", "rw"} & given:
        found.append("rw")
    if not PROPAGATION & given:
        found.append("rprivate")
    if not {"bind", "rbind"} & given:
        found.append("rbind")
    return list(dict.fromkeys(found))


def tmpfs(text: str) -> tuple[str, list[str]]:
    """``DESTINATION[:OPTIONS]`` of ``--tmpfs``.

    Raises:
        ConfigError: the path or an option is wrong.
    """
    destination, _, tail = text.partition(":")
    what = f"--tmpfs {text}"
    check_destination(what, destination)
    return destination, checked_tmpfs_options(what, tail.split(",") if tail else [])


def checked_tmpfs_options(what: str, options: list[str]) -> list[str]:
    """``tmpfs_options`` of what a user gave.

    Raises:
        ConfigError: an option is unknown, or excludes another.
    """
    for option in options:
        import re  # most containers have no tmpfs, and it takes 8 ms

        if option not in TMPFS_FLAGS and not re.fullmatch(TMPFS_VALUES, option):
            raise ConfigError(f'{what}: unknown mount option "{option}": invalid mount option')
    flags = [option for option in options if option in TMPFS_FLAGS and option != "noswap"]
    check_groups(what, flags, TMPFS_GROUPS)
    return tmpfs_options(options)


def tmpfs_options(options: list[str]) -> list[str]:
    """Podman's defaults around what was asked for."""
    found = [option for option in options if option not in ("notmpcopyup", "exec", "dev", "suid")]
    if not {"ro", "rw"} & set(found):
        found.append("rw")
    if not PROPAGATION & set(found):
        found.append("rprivate")
    found += [flag for flag in ("nosuid", "nodev") if flag.removeprefix("no") not in options]
    if "notmpcopyup" not in options:
        found.append("tmpcopyup")
    return list(dict.fromkeys(found))


def volumes_from(text: str) -> tuple[str, str]:
    """Name and access (``ro``, ``rw`` or empty) of ``CONTAINER[:OPTIONS]``.

    Raises:
        ConfigError: an option is wrong.
    """
    name, _, tail = text.partition(":")
    access = ""
    for word in tail.split(",") if tail else []:
        if word in ("ro", "rw"):
            if access:
                raise ConfigError(
                    f"--volumes-from {text}: cannot set ro or rw options more than once:"
                    " invalid mount option"
                )
            access = word
        elif word not in ("z", "Z"):
            raise ConfigError(
                f'--volumes-from {text}: invalid option "{word}" specified - volumes from another'
                " container can only use z,ro,rw options: invalid mount option"
            )
    return name, access


def check_destination(what: str, destination: str) -> None:
    """See that a path in the container may be mounted on.

    Raises:
        ConfigError: it may not.
    """
    if not destination.startswith("/"):
        raise ConfigError(
            f'{what}: invalid container path "{destination}", must be an absolute path'
        )
    if os.path.normpath(destination) == "/":
        raise ConfigError(f"{what}: the container's / cannot be mounted over")
