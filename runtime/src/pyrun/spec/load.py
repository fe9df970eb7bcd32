"""Reads a bundle (runtime-spec bundle.md)."""

from __future__ import annotations

import posix

from pyrun import names
from pyrun.errors import ConfigError, ContainerError
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.spec.types import JsonObject

_LIMIT_BYTES = 64 << 20  # more is a mistake or an attack


class Bundle:
    """A directory with config.json.

    Attributes:
        path: absolute.
        config: parsed, not validated.
        text: config.json as it was.
    """

    __slots__ = ("config", "path", "text")

    def __init__(self, path: str, config: JsonObject, text: bytes) -> None:
        self.path = path
        self.config = config
        self.text = text


def read_bundle(path: str, config_name: str = "config.json") -> Bundle:
    """Read and parse the bundle at ``path``.

    Args:
        path: the bundle directory.
        config_name: the file in it, or an absolute path.

    Raises:
        ContainerError: the directory or its config.json cannot be read.
        ConfigError: config.json is not a JSON object.
    """
    bundle = names.real(path)
    config, text = read_object(names.join(bundle, config_name), "config.json")
    return Bundle(bundle, config, text)


def read_object(path: str, what: str, *, standard_input: bool = False) -> tuple[JsonObject, bytes]:
    """Read a file that holds one JSON object.

    Args:
        path: of the file.
        what: the object's name in messages.
        standard_input: reads that, and ``path`` is its name in messages.

    Raises:
        ContainerError: the file cannot be read.
        ConfigError: it is not a JSON object.
    """
    value, text = _read_json(path, what, standard_input=standard_input)
    if not isinstance(value, dict):
        raise ConfigError("", f"{path} must hold a JSON object")
    return value, text


def read_array(path: str, what: str) -> list[Any]:
    """Read a file that holds one JSON array.

    Args:
        path: of the file.
        what: the array's name in messages.

    Raises:
        ContainerError: the file cannot be read.
        ConfigError: it is not a JSON array.
    """
    value = _read_json(path, what, standard_input=False)[0]
    if not isinstance(value, list):
        raise ConfigError("", f"{path} must hold a JSON array")
    return value


def _read_json(path: str, what: str, *, standard_input: bool) -> tuple[Any, bytes]:
    try:
        fd = posix.dup(0) if standard_input else posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise ContainerError(f"read {what}: {path}: {error.strerror}") from error
    try:
        text = _read(fd, path, what)
    finally:
        posix.close(fd)
    try:
        value = jsontext.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError("", f"{path} is not JSON: {error}") from error
    return value, text


def _read(fd: int, path: str, what: str) -> bytes:
    chunks, size = [], 0
    try:
        while chunk := posix.read(fd, 1 << 16):
            chunks.append(chunk)
            size += len(chunk)
            if size > _LIMIT_BYTES:
                raise ConfigError("", f"{path} is larger than {_LIMIT_BYTES >> 20} MiB")
    except OSError as error:
        raise ContainerError(f"read {what}: {path}: {error.strerror}") from error
    return b"".join(chunks)
