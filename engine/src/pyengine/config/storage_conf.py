"""storage.conf (containers-storage.conf(5)): where images go, and how layers are stacked.

Our files are in a directory ``pyengine`` below the configured ones, beside podman's, whose format
is another one; podman's own default directories stand for ours. Hints about speed (``mountopt``,
``pull_options``, the thin pool's) have nothing to tune here and are passed over; what would change
what containers see is refused by name.
"""

from __future__ import annotations

import os

from pyengine.config import containers_conf, user
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DRIVERS = ("", "overlay", "vfs")
_PODMANS = ("/var/lib/containers/storage", "/run/containers/storage")
_REFUSED = {
    "storage": ("imagestore", "transient_store"),
    "options": ("additionalimagestores", "additionallayerstores", "disable-volatile",
                "remap-uids", "remap-gids", "remap-user", "remap-group", "root-auto-userns-user"),
    "overlay": ("force_mask", "ignore_chown_errors", "inodes", "size", "skip_mount_home"),
}  # fmt: skip


class StorageConf:
    """What it says; empty strings where it says nothing."""

    __slots__ = ("driver", "mount_program", "root", "runroot")

    def __init__(self, driver: str, mount_program: str, root: str, runroot: str) -> None:
        self.driver, self.mount_program = driver, mount_program
        self.root, self.runroot = root, runroot


def load(where: str, cache: str) -> StorageConf:
    """Read it.

    Args:
        where: the file (``roots.storage_conf``).
        cache: a file of our own that keeps the result, as for containers.conf.

    Raises:
        ConfigError: it cannot be read, or asks for what cannot be done.
    """
    stamp = [containers_conf.stamp(where), user.user_id()]
    kept = containers_conf.read_cache(cache)
    if kept is not None and kept.get("key") == stamp:
        return StorageConf(*kept["values"])
    values = _values(containers_conf.read(where), where)
    os.makedirs(os.path.dirname(cache), mode=0o711, exist_ok=True)
    containers_conf.write_cache(cache, {"key": stamp, "values": values})
    return StorageConf(*values)


def _values(tables: dict[str, Any], where: str) -> list[str]:
    storage = _table(tables, "storage", where)
    options = _table(storage, "options", f"{where}: storage")
    overlay = _table(options, "overlay", f"{where}: storage.options")
    named = {"storage": storage, "options": options, "overlay": overlay}
    for name, table in named.items():
        for key in _REFUSED[name]:
            if table.get(key) not in (None, "", [], False, "false"):
                raise ConfigError(f"{where}: {key}: this cannot be done here: remove it")
    driver = _text(storage, "driver", where)
    if driver not in DRIVERS:
        raise ConfigError(f"{where}: driver: {driver!r} is not known: overlay and vfs are")
    program = _text(overlay, "mount_program", where) or _text(options, "mount_program", where)
    root, runroot = _text(storage, "graphroot", where), _text(storage, "runroot", where)
    if user.is_rootless():
        root = _text(storage, "rootless_storage_path", where) or root
    return [driver, program, _ours(root, where), _ours(runroot, where)]


def _table(tables: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {name}: not a table")
    return found


def _text(table: dict[str, Any], key: str, where: str) -> str:
    found = table.get(key, "")
    if not isinstance(found, str):
        raise ConfigError(f"{where}: {key}: {found!r} is not a string")
    return found


def _ours(directory: str, where: str) -> str:
    """A directory of our own below the configured one; $HOME, $UID and $USER are known."""
    own = {"HOME": os.path.expanduser("~"), "UID": str(user.user_id()),
           "USER": os.environ.get("USER", "")}  # fmt: skip
    expanded = directory
    for name, value in own.items():
        expanded = expanded.replace(f"${{{name}}}", value).replace(f"${name}", value)
    if (
        not expanded
        or expanded in _PODMANS
        or expanded.endswith("/.local/share/containers/storage")
    ):
        return ""
    if not os.path.isabs(expanded):
        raise ConfigError(f"{where}: {directory!r} is not an absolute path")
    return os.path.join(expanded, "pyengine")
