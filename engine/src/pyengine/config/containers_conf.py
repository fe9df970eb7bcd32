"""containers.conf (containers.conf(5)): TOML files, each overriding the keys of those before it."""

from __future__ import annotations

import os

from pyengine import jsontext, log
from pyengine.config import user
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


MODULES = "containers/containers.conf.modules"


def files(modules: Sequence[str] = ()) -> list[str]:
    """The files that apply and exist, in the order in which they override each other.

    ``modules`` are the files of ``--module``.

    Raises:
        ConfigError: there is no such module.
    """
    only = os.environ.get("CONTAINERS_CONF")
    override = os.environ.get("CONTAINERS_CONF_OVERRIDE")
    last = [*map(_module, modules), *([override] if override else [])]
    if only:
        return [only, *last]
    found = ["/usr/share/containers/containers.conf", "/etc/containers/containers.conf"]
    found += _drop_ins("/etc/containers/containers.conf.d")
    if user.is_rootless():
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        found.append(f"{base}/containers/containers.conf")
        found += _drop_ins(f"{base}/containers/containers.conf.d")
    return [path for path in found if os.path.exists(path)] + last


def _module(path: str) -> str:
    """A file by its path, or by its name where modules are kept."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    places = [f"{top}/{MODULES}/{path}" for top in (base, "/etc", "/usr/share")]
    for place in [path] if os.path.isabs(path) else places:
        if os.path.exists(place):
            return place
    where = "" if os.path.isabs(path) else f" in {base}/{MODULES} and its like in /etc, /usr/share"
    raise ConfigError(f"--module {path}: no such file{where}")


def load(cache: str | None = None, modules: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """All tables merged; empty where no file exists.

    Args:
        modules: more files, of ``--module``.
        cache: a file of our own that keeps the result for as long as no file changes, because
            importing tomllib alone takes 12 ms.

    Raises:
        ConfigError: a file cannot be read or is not TOML.
    """
    paths = files(modules)
    if not paths:
        return {}
    key = [stamp(path) for path in paths]
    if cache is not None:
        kept = read_cache(cache)
        if kept is not None and kept.get("key") == key:
            tables: dict[str, dict[str, Any]] = kept["tables"]
            return tables
    merged: dict[str, dict[str, Any]] = {}
    for path in paths:
        for table, values in read(path).items():
            if not isinstance(values, dict):
                raise ConfigError(f"{path}: {table}: not a table")
            _check_engine(values if table == "engine" else {}, path)
            _merge(merged.setdefault(table, {}), values)
    if cache is not None:
        write_cache(cache, {"key": key, "tables": merged})
    return merged


def _merge(table: dict[str, Any], values: dict[str, Any]) -> None:
    """Override keys; tables are merged, and a list that ends in ``{append=true}`` is added."""
    for key, value in values.items():
        before = table.get(key)
        if isinstance(value, list) and value and isinstance(value[-1], dict):
            *items, how = value
            if how.keys() == {"append"}:
                table[key] = [*(before or [] if how["append"] else []), *items]
                continue
        if isinstance(value, dict) and isinstance(before, dict):
            table[key] = {**before, **value}
        else:
            table[key] = value


def _check_engine(table: dict[str, Any], path: str) -> None:
    """The types of the keys that are read."""

    def strings(value: object) -> bool:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)

    runtimes = table.get("runtimes", {})
    found = {
        "runtime": isinstance(table.get("runtime", ""), str),
        "cgroup_manager": table.get("cgroup_manager", "") in ("", "cgroupfs", "systemd"),
        "events_logger": table.get("events_logger", "") in ("", "file", "journald", "none"),
        "events_logfile_path": isinstance(table.get("events_logfile_path", ""), str),
        "events_logfile_max_size": _is_size(table.get("events_logfile_max_size", "1m")),
        "detach_keys": isinstance(table.get("detach_keys", ""), str),
        "conmon_path": strings(table.get("conmon_path", [])),
        "runtimes": isinstance(runtimes, dict) and all(map(strings, runtimes.values())),
    }
    for key, right in found.items():
        if not right:
            raise ConfigError(f"{path}: engine.{key}: {table[key]!r} is no value for it")


def _is_size(value: object) -> bool:
    from pyengine.config.events import size_bytes

    try:
        return isinstance(value, str) and size_bytes(value) > 0
    except ValueError:
        return False


def stamp(path: str) -> list[Any]:
    """What tells whether a file is the one that was read before."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConfigError(f"read {path}: {error.strerror}") from error
    return [path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def read_cache(path: str) -> dict[str, Any] | None:
    """What ``write_cache`` kept, if anything."""
    try:
        with open(path, "rb") as file:
            kept = jsontext.loads(file.read())
    except (OSError, ValueError):
        return None  # not there yet, or cut short by a power cut
    return kept if isinstance(kept, dict) else None


def write_cache(path: str, content: dict[str, Any]) -> None:
    """Keep the content of configuration files, where that is possible."""
    staged = f"{path}.{os.getpid()}"
    try:
        with open(staged, "x", encoding="utf-8") as file:
            file.write(jsontext.dumps(content))
        os.rename(staged, path)
    except (OSError, TypeError) as error:  # TypeError: a date, which JSON has not
        log.debug(f"keep {path}: {error}")
        try:
            os.unlink(staged)
        except OSError as left:
            log.debug(f"remove {staged}: {left}")


def _drop_ins(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [f"{directory}/{name}" for name in names if name.endswith(".conf")]


def read(path: str) -> dict[str, Any]:
    """One file's tables.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"read {path}: {error.strerror}") from error
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
