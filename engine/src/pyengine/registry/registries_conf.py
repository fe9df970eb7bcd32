"""registries.conf version 2 (containers-registries.conf(5)): where an image's name leads to."""

from __future__ import annotations

import os
import tomllib

from pyengine.config import user
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODES = ("enforcing", "permissive", "disabled")
_PULL_FROM = ("all", "digest-only", "tag-only")
_ROOT = "/etc/containers"


class Endpoint:
    """One place from which an image may come.

    Attributes:
        host: of the registry, with the port if there is one.
        path: the repository below it.
        insecure: plain HTTP and any certificate are fine.
    """

    __slots__ = ("host", "insecure", "path")

    def __init__(self, location: str, insecure: bool) -> None:
        self.host, _, self.path = location.partition("/")
        self.insecure = insecure

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


class Registries:
    """All files, merged.

    Attributes:
        search: registries in which a short name is looked for; None where no file says anything.
        mode: what is done with a short name that fits several of them.
        aliases: full repositories by short name.
        helpers: credential helpers for every registry.
        source: the file that says where to search, for messages.
        chosen: a short name and the repository that the user has just picked for it.
    """

    __slots__ = ("aliases", "chosen", "helpers", "mode", "registries", "search", "source")

    def __init__(self) -> None:
        self.search: list[str] | None = None
        self.mode = "permissive"
        self.aliases: dict[str, str] = {}
        self.helpers: list[str] = []
        self.registries: dict[str, dict[str, Any]] = {}
        self.source = main_file()
        self.chosen: tuple[str, str] | None = None

    def endpoints(self, repository: str, *, by_digest: bool) -> list[Endpoint]:
        """Where to pull from, in order: the mirrors and then the registry itself.

        Args:
            repository: ``registry/path``.
            by_digest: a digest rather than a tag is wanted; some mirrors serve only one kind.

        Raises:
            ConfigError: the registry is blocked.
        """
        entry = self._entry(repository)
        if entry is None:
            return [Endpoint(repository, False)]
        if entry.get("blocked"):
            raise ConfigError(
                f"registry {entry['prefix']} is blocked in {self.source} or its drop-ins; "
                f"{repository} cannot be used"
            )
        found = []
        for mirror in entry.get("mirror", []):
            served = mirror.get("pull-from-mirror", "all")
            if entry.get("mirror-by-digest-only") and served == "all":
                served = "digest-only"
            if served in ("all", "digest-only" if by_digest else "tag-only"):
                found.append(_rewritten(repository, entry, mirror))
        return [*found, _rewritten(repository, entry, entry)]

    def push_endpoint(self, repository: str) -> Endpoint:
        """Where to push to: never a mirror."""
        return self.endpoints(repository, by_digest=False)[-1]

    def is_insecure(self, host: str) -> bool:
        """Whether a whole registry needs no TLS."""
        entry = self._entry(host)
        return bool(entry and entry.get("insecure"))

    def _entry(self, repository: str) -> dict[str, Any] | None:
        """The registry table with the longest prefix of the name."""
        fitting = [entry for prefix, entry in self.registries.items() if _fits(prefix, repository)]
        return max(fitting, key=lambda entry: len(entry["prefix"]), default=None)


def load() -> Registries:
    """Read the main file, the drop-ins and the aliases.

    Raises:
        ConfigError: a file cannot be read, or says something that makes no sense.
    """
    merged = Registries()
    for path in [main_file(), *_drop_ins()]:
        tables = _read(path)
        if tables is not None:
            _merge(merged, tables, path)
    recorded = _read(aliases_file())
    merged.aliases.update(_aliases(recorded or {}, aliases_file()))
    return merged


def main_file() -> str:
    """The file that is read first."""
    named = os.environ.get("CONTAINERS_REGISTRIES_CONF") or os.environ.get("REGISTRIES_CONFIG_PATH")
    if named:
        return named
    own = f"{_user_directory()}/registries.conf"
    return own if user.is_rootless() and os.path.exists(own) else f"{_ROOT}/registries.conf"


def aliases_file() -> str:
    """Where the user's choices for short names are kept."""
    if not user.is_rootless():
        return "/var/cache/containers/short-name-aliases.conf"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return f"{base}/containers/short-name-aliases.conf"


def record_alias(name: str, repository: str) -> None:
    """Remember which repository a short name stands for."""
    from pyengine.database.locks import DirectoryHold

    path = aliases_file()
    staged = f"{path}.{os.urandom(8).hex()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with DirectoryHold(os.path.dirname(path)):
            aliases = {**_aliases(_read(path) or {}, path), name: repository}
            lines = (f'  "{key}" = "{value}"' for key, value in sorted(aliases.items()))
            with open(staged, "w", encoding="utf-8") as file:
                file.write("\n".join(["[aliases]", *lines]) + "\n")
            os.rename(staged, path)
    except OSError as error:
        raise ConfigError(f"record short name {name} in {path}: {error.strerror}") from error


def _user_directory() -> str:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{base}/containers"


def _drop_ins() -> list[str]:
    if os.environ.get("CONTAINERS_REGISTRIES_CONF") or os.environ.get("REGISTRIES_CONFIG_PATH"):
        # A file that was named stands alone, except for what lies beside it.
        directories = [f"{main_file()}.d"]
    else:
        directories = [f"{_ROOT}/registries.conf.d"]
        if user.is_rootless():
            directories.append(f"{_user_directory()}/registries.conf.d")
    found = []
    for directory in directories:
        if os.path.isdir(directory):
            names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
            found += [f"{directory}/{name}" for name in names]
    return found


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            return tomllib.loads(file.read().decode())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _merge(merged: Registries, tables: dict[str, Any], path: str) -> None:
    if "registries" in tables:
        raise ConfigError(f"{path}: registries: version 1 of the format is not supported")
    if "unqualified-search-registries" in tables:
        key = "unqualified-search-registries"
        merged.search = _strings(tables[key], f"{path}: {key}")
        merged.source = path
    mode = tables.get("short-name-mode", merged.mode)
    if mode not in MODES:
        raise ConfigError(f"{path}: short-name-mode: {mode!r} is none of {', '.join(MODES)}")
    merged.mode = mode
    merged.aliases.update(_aliases(tables, path))
    if "credential-helpers" in tables:
        key = "credential-helpers"
        merged.helpers = _strings(tables[key], f"{path}: {key}")
    entries = tables.get("registry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: registry: not a list of tables")
    for index, entry in enumerate(entries):
        checked = _checked(entry, f"{path}: registry[{index}]")
        merged.registries[checked["prefix"]] = checked


def _aliases(tables: dict[str, Any], path: str) -> dict[str, str]:
    aliases = tables.get("aliases", {})
    if not isinstance(aliases, dict) or not all(isinstance(one, str) for one in aliases.values()):
        raise ConfigError(f"{path}: aliases: not a table of strings")
    return aliases


def _checked(entry: dict[str, Any], where: str) -> dict[str, Any]:
    location = _location(entry.get("location", ""), f"{where}: location")
    prefix = _location(entry.get("prefix", "") or location, f"{where}: prefix")
    if not prefix or (not location and not prefix.startswith("*.")):
        raise ConfigError(f"{where}: it needs a location, and a prefix if that begins with *.")
    if "*" in prefix.removeprefix("*."):
        raise ConfigError(f"{where}: prefix: only a whole first part of the host may be *")
    mirrors = entry.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(one, dict) for one in mirrors):
        raise ConfigError(f"{where}: mirror: not a list of tables")
    checked = []
    for index, mirror in enumerate(mirrors):
        at = f"{where}: mirror[{index}]"
        source = _location(mirror.get("location", ""), f"{at}: location")
        if not source:
            raise ConfigError(f"{at}: it needs a location")
        if mirror.get("pull-from-mirror", "all") not in _PULL_FROM:
            raise ConfigError(f"{at}: pull-from-mirror: none of {', '.join(_PULL_FROM)}")
        checked.append({**mirror, "location": source})
    for key in ("blocked", "insecure", "mirror-by-digest-only"):
        if not isinstance(entry.get(key, False), bool):
            raise ConfigError(f"{where}: {key}: neither true nor false")
    return {**entry, "location": location, "prefix": prefix, "mirror": checked}


def _location(value: object, where: str) -> str:
    if not isinstance(value, str) or "://" in value or value != value.strip():
        raise ConfigError(f"{where}: {value!r} is no registry or repository")
    return value.rstrip("/")


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{where}: not a list of strings")
    return value


def _fits(prefix: str, repository: str) -> bool:
    if prefix.startswith("*."):
        return repository.partition("/")[0].endswith(prefix[1:])
    return repository == prefix or repository.startswith((f"{prefix}/", f"{prefix}:"))


def _rewritten(repository: str, entry: dict[str, Any], place: dict[str, Any]) -> Endpoint:
    """The repository with the entry's prefix replaced by a location."""
    prefix, location = entry["prefix"], place.get("location")
    insecure = bool(place.get("insecure"))
    if not location:  # a wildcard without a location changes nothing but the settings
        return Endpoint(repository, insecure)
    if prefix.startswith("*."):
        host, slash, rest = repository.partition("/")
        return Endpoint(f"{location}{slash}{rest}" if host else location, insecure)
    return Endpoint(f"{location}{repository[len(prefix) :]}", insecure)
