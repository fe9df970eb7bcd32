"""The options of the section ``logging``: where output goes."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.specgen.options import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import Logging

JOURNAL_SOCKET = "/run/systemd/journal/socket"
FILE_DRIVERS = ("k8s-file", "json-file")
DRIVERS = (*FILE_DRIVERS, "journald", "none", "passthrough")
KEYS = ("label", "max-file", "max-size", "path", "tag")
# conmon's block, below which it refuses a limit.
MIN_SIZE_BYTES = 8192


def configure(wanted: ContainerOptions, table: dict[str, Any]) -> Logging:
    """The driver and its options.

    Args:
        wanted: what the user asked for.
        table: ``[containers]`` of containers.conf. Its journald means k8s-file where there is no
            journal, because it is what distributions write there.

    Raises:
        ConfigError: a driver or an option is unknown, or does not fit the driver.
    """
    found: Logging = {"driver": _driver(wanted, table)}
    is_file = found["driver"] in FILE_DRIVERS
    limit = table.get("log_size_max", -1)
    if is_file and isinstance(limit, int) and limit > 0:
        found["size_max_bytes"] = limit
    for text in wanted.log_opt:
        key, equals, value = text.partition("=")
        if key not in KEYS or not equals or not value:
            raise ConfigError(f"--log-opt {text}: not one of {'=, '.join(KEYS)}= with a value")
        if is_file != (key in ("max-file", "max-size", "path")):
            raise ConfigError(f"--log-opt {text}: not for the log driver {found['driver']}")
        if key == "path":
            found["path"] = os.path.abspath(value)
        elif key == "max-size":
            found["size_max_bytes"] = size("--log-opt max-size", value)
        elif key == "max-file":
            if not value.isdecimal() or int(value) < 1:
                raise ConfigError(f"--log-opt {text}: not a number of files")
            found["files"] = int(value)
        elif key == "tag":
            found["tag"] = value
        else:
            found["label"] = value
    _check_path(found.get("path", ""))
    if 0 < found.get("size_max_bytes", 0) < MIN_SIZE_BYTES:
        raise ConfigError(f"log size {found['size_max_bytes']}: must be at least 8k")
    if found["driver"] == "journald" and "tag" not in found and table.get("log_tag"):
        found["tag"] = str(table["log_tag"])
    return found


def _driver(wanted: ContainerOptions, table: dict[str, Any]) -> str:
    has_journal = os.path.exists(JOURNAL_SOCKET)
    name = wanted.log_driver or str(table.get("log_driver") or "k8s-file")
    if name == "journald" and not wanted.log_driver and not has_journal:
        return "k8s-file"
    if name not in DRIVERS:
        raise ConfigError(f"log driver {name}: invalid log driver: one of {', '.join(DRIVERS)}")
    if name == "journald" and not has_journal:
        raise ConfigError(
            f"log driver journald: this host has no journal ({JOURNAL_SOCKET} does not exist):"
            " use k8s-file"
        )
    if name == "passthrough" and wanted.terminal:
        raise ConfigError("log driver passthrough: it cannot be used with a terminal (--tty)")
    return name


def _check_path(path: str) -> None:
    directory = os.path.dirname(path)
    if path and not os.path.isdir(directory):
        raise ConfigError(f"--log-opt path={path}: {directory} is no directory")
    if os.path.isdir(path):
        raise ConfigError(f"--log-opt path={path}: it is a directory")
