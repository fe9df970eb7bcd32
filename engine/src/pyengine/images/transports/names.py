"""Where an image is: ``docker://registry/path:tag``, ``oci:directory:name`` and so on."""

from __future__ import annotations

from pyengine.errors import ConfigError

TRANSPORTS = (
    "containers-storage", "dir", "docker", "docker-archive", "docker-daemon", "oci", "oci-archive",
)  # fmt: skip


class Place:
    """A transport and what it takes.

    Attributes:
        transport: one of ``TRANSPORTS``.
        path: a file or directory; for docker, docker-daemon and containers-storage the image's
            name.
        name: below the path, or empty.
        store: another storage root than the usual one, ``[DRIVER@]ROOT[+RUNROOT]``; or empty.
    """

    __slots__ = ("name", "path", "store", "transport")

    def __init__(self, transport: str, path: str, name: str = "", store: str = "") -> None:
        self.transport, self.path, self.name, self.store = transport, path, name, store

    def __str__(self) -> str:
        if self.transport == "docker":
            return f"docker://{self.path}"
        if self.store:
            return f"{self.transport}:[{self.store}]{self.path}"
        return f"{self.transport}:{self.path}{':' if self.name else ''}{self.name}"


def is_place(text: str) -> bool:
    """Whether a name begins with a transport."""
    transport, colon, rest = text.partition(":")
    return bool(colon) and transport in TRANSPORTS and (transport != "docker" or rest[:2] == "//")


def parse(text: str) -> Place:
    """Take a place apart.

    Raises:
        ConfigError: its transport is unknown, or something is missing.
    """
    transport, colon, rest = text.partition(":")
    if not colon or transport not in TRANSPORTS:
        raise ConfigError(
            f'Invalid image name "{text}", unknown transport "{transport}"; it begins with one of '
            f"{', '.join(f'{one}:' for one in TRANSPORTS)}"
        )
    if transport == "docker":
        if not rest.startswith("//") or len(rest) < 3:
            raise ConfigError(f'Invalid image name "{text}": docker: takes //registry/path:tag')
        return Place(transport, rest[2:])
    if transport == "containers-storage":
        store, bracket, name = rest.removeprefix("[").partition("]")
        if not rest.startswith("["):
            store, name = "", rest
        elif not bracket or not store:
            raise ConfigError(f'Invalid image name "{text}": it takes [DRIVER@ROOT+RUNROOT]NAME')
        name = name.removeprefix("@")
        if not name:
            raise ConfigError(f'Invalid image name "{text}": {transport}: takes a name')
        return Place(transport, name, "", store)
    if transport == "docker-daemon":
        if not rest:
            raise ConfigError(f'Invalid image name "{text}": {transport}: takes a name')
        return Place(transport, rest)
    path, name = rest, ""
    if transport != "dir":
        path, _, name = rest.partition(":")
    if not path:
        raise ConfigError(f'Invalid image name "{text}": {transport}: takes a path')
    return Place(transport, path, name)
