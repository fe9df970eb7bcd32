"""Simple signatures beside a registry, where registries.d says (containers-registries.d(5))."""

from __future__ import annotations

import os

from pyengine.config import user
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_SIGNATURES = 128
_MAX_BYTES = 4 << 20
_DIRECTORIES = ("/etc/containers/registries.d",)


def read(repository: str, digest: str, directory: str | None = None) -> list[bytes]:
    """The signatures of a manifest; none where no place is configured.

    Args:
        repository: ``registry/path``.
        digest: of the manifest.
        directory: of the configuration, in place of the usual ones.

    Raises:
        ConfigError: the configuration makes no sense.
        RegistryError: the place does not answer.
    """
    base = place(repository, ("lookaside", "sigstore"), directory)
    if base is None:
        return []
    found: list[bytes] = []
    while len(found) < _MAX_SIGNATURES:
        signature = _get(_address(base, repository, digest, len(found) + 1))
        if signature is None:
            break
        found.append(signature)
    return found


def write(
    repository: str, digest: str, signatures: list[bytes], directory: str | None = None
) -> None:
    """Keep the signatures of a manifest.

    Raises:
        ConfigError: no writable place is configured.
    """
    base = _writable_place(repository, directory)
    for number, signature in enumerate(signatures, 1):
        _write(_path(_address(base, repository, digest, number), repository), signature, "wb")


def add(
    repository: str, digest: str, signature: bytes, directory: str | None, base: str | None
) -> None:
    """Keep one more signature of a manifest, below ``base`` where that is given.

    Raises:
        ConfigError: no writable place is configured.
    """
    base = base or _writable_place(repository, directory)
    for number in range(1, _MAX_SIGNATURES + 1):
        path = _path(_address(base, repository, digest, number), repository)
        if not os.path.exists(path):
            _write(path, signature, "xb")
            return
    raise ConfigError(f"keep a signature of {repository}@{digest}: it has {_MAX_SIGNATURES}")


def _writable_place(repository: str, directory: str | None) -> str:
    keys = ("lookaside-staging", "sigstore-staging", "lookaside", "sigstore")
    return place(repository, keys, directory) or f"file://{_default_place()}"


def _path(address: str, repository: str) -> str:
    if not address.startswith("file://"):
        raise ConfigError(
            f"write a signature to {address}: only file:// can be written; configure "
            f"lookaside-staging for {repository} in {_DIRECTORIES[0]}"
        )
    return address.removeprefix("file://")


def _write(path: str, signature: bytes, mode: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, mode) as file:
            file.write(signature)
    except OSError as error:
        raise ConfigError(f"write a signature to {path}: {error.strerror}") from error


def place(repository: str, keys: tuple[str, ...], directory: str | None) -> str | None:
    """The address that the longest namespace, or else the default, has under one of the keys."""
    for table in _tables(repository, directory):
        for key in keys:
            if table.get(key):
                return str(table[key]).rstrip("/")
    return None


def uses_attachments(repository: str, directory: str | None) -> bool:
    """Whether sigstore signatures are kept in the registry itself, beside the images.

    Raises:
        ConfigError: the configuration makes no sense.
    """
    key = "use-sigstore-attachments"
    for table in _tables(repository, directory):
        if table.get(key) is not None:
            if not isinstance(table[key], bool):
                raise ConfigError(f"registries.d: {key} of {repository}: neither true nor false")
            return bool(table[key])
    return False


def _tables(repository: str, directory: str | None) -> list[dict[str, Any]]:
    """What is said of a repository, the narrowest namespace first and the default last."""
    namespaces, default = _load(directory)
    parts = repository.split("/")
    names = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    pieces = parts[0].partition(":")[0].split(".")
    names += [f"*.{'.'.join(pieces[count:])}" for count in range(1, len(pieces))]
    return [*(namespaces[name] for name in names if name in namespaces), default]


def _load(directory: str | None) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    namespaces: dict[str, dict[str, Any]] = {}
    default: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for path in _files(directory):
        tables = _read(path)
        if tables.get("default-docker"):
            if default:
                raise ConfigError(f"{path}: default-docker: {sources['']} has it already")
            default, sources[""] = _table(tables["default-docker"], path), path
        for name, table in _table(tables.get("docker") or {}, path).items():
            if name in namespaces:
                raise ConfigError(f"{path}: docker: {sources[name]} has {name} already")
            namespaces[name], sources[name] = _table(table, path), path
    return namespaces, default


def _files(directory: str | None) -> list[str]:
    directories = [directory] if directory else list(_DIRECTORIES)
    if directory is None and user.is_rootless():
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        directories.insert(0, f"{base}/containers/registries.d")
    for one in directories:
        if os.path.isdir(one):
            return [f"{one}/{name}" for name in sorted(os.listdir(one)) if name.endswith(".yaml")]
    return []


def _read(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, "rb") as file:
            return _table(yaml.safe_load(file.read()) or {}, path)
    except OSError as error:
        raise ConfigError(f"read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


def _table(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: not a mapping where one is expected")
    return value


def _default_place() -> str:
    if not user.is_rootless():
        return "/var/lib/containers/sigstore"
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return f"{base}/containers/sigstore"


def _address(base: str, repository: str, digest: str, number: int) -> str:
    path = repository.partition("/")[2]
    return f"{base}/{path}@{digest.replace(':', '=')}/signature-{number}"


def _get(address: str) -> bytes | None:
    if address.startswith("file://"):
        path = address.removeprefix("file://")
        try:
            with open(path, "rb") as file:
                return file.read(_MAX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(f"read signature {path}: {error.strerror}") from error
    from pyengine.registry import session

    return session.fetch(address, f"reading signature {address}", _MAX_BYTES)
