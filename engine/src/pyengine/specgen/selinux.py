"""SELinux labels of a container's process and of its files, on a kernel that has SELinux.

A label is USER:ROLE:TYPE:LEVEL. Containers differ by two categories in the level, so that none may
touch the files of another. The policy says which labels containers have (lxc_contexts).
"""

from __future__ import annotations

import errno
import os

from pyengine.errors import ConfigError
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

FILESYSTEM, SETTINGS = "/sys/fs/selinux", "/etc/selinux"
OWN_LABEL = "/proc/self/attr/current"
ATTRIBUTE = "security.selinux"
PARTS = ("user", "role", "type", "level")
CATEGORIES = 1024
# What a policy without containers of its own would have to say.
CONTEXTS = {
    "process": "system_u:system_r:container_t:s0",
    "init_process": "system_u:system_r:container_init_t:s0",
    "file": "system_u:object_r:container_file_t:s0",
}
UNCONFINED_LEVEL = "s0:c1022,c1023"  # of the files of containers whose process has no label


def check(word: str) -> str:
    """What follows ``label=``.

    Raises:
        ConfigError: it is nothing that a label has.
    """
    key, _, value = word.partition(":")
    if word not in ("disable", "nested") and not (value and key in (*PARTS, "filetype")):
        raise ConfigError(
            f'bad label option "{word}": must be disable, nested or one of user, role, type, level'
            " and filetype, followed by ':' and a value"
        )
    return word


def has_policy() -> bool:
    """Whether labels mean anything; without a policy everything is called ``kernel``."""
    with open(OWN_LABEL, encoding="utf-8") as file:
        return file.read().rstrip("\0\n") != "kernel"


def choose(words: Sequence[str], used: Container[str], *, init: bool) -> tuple[str, str]:
    """The labels of a new container's process and of its files; an empty one is none.

    Args:
        words: as ``check`` lets them pass.
        used: levels of other containers.
        init: whether the process is a systemd.
    """
    contexts = _contexts()
    process = contexts["init_process" if init else "process"].split(":", 3)
    file = contexts["file"].split(":", 3)
    if "disable" in words:
        return "", ":".join([*file[:3], UNCONFINED_LEVEL])
    level = _fresh_level(process[3], used)
    process[3] = file[3] = level
    for word in words:
        key, _, value = word.partition(":")
        if key == "filetype":
            file[2] = value
        elif key in PARTS:
            process[PARTS.index(key)] = value
            if key in ("level", "user"):
                file[PARTS.index(key)] = value
    return ":".join(process), ":".join(file)


def same(label: str) -> list[str]:
    """The words that give a container the label of another's process."""
    return [f"{key}:{value}" for key, value in zip(PARTS, label.split(":", 3), strict=False)]


def _fresh_level(base: str, used: Container[str]) -> str:
    while True:
        one, other = (int.from_bytes(os.urandom(2), "little") % CATEGORIES for _ in range(2))
        level = f"{base.partition(':')[0]}:c{min(one, other)},c{max(one, other)}"
        if one != other and level not in used and level != UNCONFINED_LEVEL:
            return level


def _contexts() -> dict[str, str]:
    kind = _settings(f"{SETTINGS}/config").get("SELINUXTYPE", "targeted")
    return {**CONTEXTS, **_settings(f"{SETTINGS}/{kind}/contexts/lxc_contexts")}


def _settings(path: str) -> dict[str, str]:
    """The lines NAME = "VALUE" of a file."""
    try:
        with open(path, encoding="utf-8") as file:
            pairs = [line.partition("=") for line in file if not line.lstrip().startswith("#")]
    except FileNotFoundError:
        return {}
    return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}


def relabel(path: str, label: str, *, shared: bool = False) -> None:
    """Give a file, or everything below a directory, to a container; follows no link.

    Args:
        path: of the host.
        label: of the container's files.
        shared: other containers may use it too: without categories.

    Raises:
        ConfigError: the host needs its label, or it cannot be changed.
    """
    if os.path.realpath(path) in trees.OF_THE_HOST:
        raise ConfigError(f"SELinux relabeling of {path} is not allowed: give another directory")
    if shared:
        label = ":".join([*label.split(":", 3)[:3], "s0"])
    data = label.encode() + b"\0"
    try:
        os.setxattr(path, ATTRIBUTE, data, follow_symlinks=False)
        if not os.path.isdir(path) or os.path.islink(path):
            return
        for directory, folders, names in os.walk(path):
            for name in (*folders, *names):
                os.setxattr(f"{directory}/{name}", ATTRIBUTE, data, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:  # a file system whose mount has the label
            raise ConfigError(f"relabel {path} as {label}: {error.strerror}") from error
