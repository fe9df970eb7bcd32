"""What ``--volume``, ``--tmpfs`` and their like may say, and what it means."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.specgen.options import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import Volume

PROPAGATION = {"shared", "rshared", "slave", "rslave", "private", "rprivate"}
BIND_OPTIONS = {
    "ro", "rw", "bind", "rbind", "z", "Z", "exec", "noexec", "dev", "nodev", "suid", "nosuid",
    *PROPAGATION,
}  # fmt: skip
TMPFS_FLAGS = {
    "ro", "rw", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "tmpcopyup", "notmpcopyup",
    *PROPAGATION,
}  # fmt: skip
TMPFS_VALUES = r"size=\d+[kmgKMG%]?|mode=[0-7]+|nr_inodes=\d+[kmgKMG]?|[ug]id=\d+"


def volume(text: str) -> Volume:
    """``[SOURCE:]DESTINATION[:OPTIONS]``; a source without a slash is a named volume.

    Raises:
        ConfigError: the form, a path, a name or an option is wrong.
    """
    pieces = text.split(":")
    if len(pieces) > 3 or not all(pieces):
        raise ConfigError(f"--volume {text}: incorrect volume format, should be"
                          " [host-dir:]ctr-dir[:option]")  # fmt: skip
    if len(pieces) == 1:
        raise ConfigError(
            f"--volume {text}: anonymous volumes are not supported: give SOURCE:{text}"
        )
    source, destination = pieces[0], pieces[1]
    options = pieces[2].split(",") if len(pieces) == 3 else []
    _check_destination("--volume", text, destination)
    unknown = sorted(set(options) - BIND_OPTIONS)
    if unknown:
        raise ConfigError(f'--volume {text}: invalid option "{unknown[0]}"')
    _refuse_opposites(f"--volume {text}", options)
    if source.startswith(("/", ".")):
        return {"source": os.path.abspath(source), "name": "", "destination": destination,
                "options": bind_options(options)}  # fmt: skip
    if not is_name(source):
        raise ConfigError(
            f"--volume {text}: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument"
        )
    extra = [flag for flag in ("nosuid", "nodev") if flag.removeprefix("no") not in options]
    return {"source": "", "name": source, "destination": destination,
            "options": bind_options([*options, *extra])}  # fmt: skip


def bind_options(options: list[str]) -> list[str]:
    """The mount options: recursive and private unless said otherwise; labels need no SELinux."""
    found = [option for option in options if option not in ("z", "Z")]
    if not {"ro", "rw"} & set(found):
        found.append("rw")
    if not PROPAGATION & set(found):
        found.append("rprivate")
    if not {"bind", "rbind"} & set(found):
        found.append("rbind")
    return list(dict.fromkeys(found))


def tmpfs(text: str) -> tuple[str, list[str]]:
    """``DESTINATION[:OPTIONS]`` of ``--tmpfs``."""
    destination, _, tail = text.partition(":")
    options = tail.split(",") if tail else []
    _check_destination("--tmpfs", text, destination)
    for option in options:
        import re

        if option not in TMPFS_FLAGS and not re.fullmatch(TMPFS_VALUES, option):
            raise ConfigError(f'--tmpfs {text}: unrecognized tmpfs option "{option}"')
    _refuse_opposites(f"--tmpfs {text}", options)
    return destination, tmpfs_options(options)


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


def _check_destination(option: str, text: str, destination: str) -> None:
    if not destination.startswith("/"):
        raise ConfigError(
            f'{option} {text}: invalid container path "{destination}", must be an absolute path'
        )
    if os.path.normpath(destination) == "/":
        raise ConfigError(f"{option} {text}: the container's / cannot be mounted over")


def _refuse_opposites(what: str, options: list[str]) -> None:
    for group in ({"ro", "rw"}, PROPAGATION, {"exec", "noexec"}, {"dev", "nodev"}):
        given = sorted(group & set(options))
        if len(given) > 1:
            raise ConfigError(f"{what}: cannot pass both {given[0]} and {given[1]}")
