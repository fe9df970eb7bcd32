"""Names of images: ``[registry/]repository[:tag][@digest]``, and what short ones stand for."""

from __future__ import annotations

import re

from pyengine.errors import ConfigError

DOCKER_HUB = "docker.io"
LOCAL = "localhost"

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])"
_REGISTRY = re.compile(_HOST + r"(?::[0-9]+)?\Z")


class Reference:
    """A name in its parts.

    Attributes:
        registry: host and port; empty in a short name.
        path: the repository below the registry.
        tag: empty where none was given.
        digest: ``sha256:...``, or empty.
    """

    __slots__ = ("digest", "path", "registry", "tag")

    def __init__(self, registry: str, path: str, tag: str = "", digest: str = "") -> None:
        self.registry = registry
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def repository(self) -> str:
        """``registry/path``."""
        return f"{self.registry}/{self.path}" if self.registry else self.path

    @property
    def name(self) -> str:
        """``registry/path:tag``, with ``latest`` where no tag was given."""
        return f"{self.repository}:{self.tag or 'latest'}"

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else self.name

    def at(self, registry: str) -> Reference:
        """The same name on a registry; Docker Hub's own images are below ``library/``."""
        path = self.path
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        return Reference(registry, path, self.tag, self.digest)


def parse(text: str) -> Reference:
    """Take a name apart.

    Raises:
        ConfigError: it is no name of an image.
    """
    name = text.removeprefix("docker://")
    name, _, digest = name.partition("@")
    if digest and not _DIGEST.match(digest):
        raise ConfigError(f"{text}: invalid reference format: {digest} is not a sha256 digest")
    registry = ""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == LOCAL):
        registry, name = first, rest
        if not _REGISTRY.match(registry):
            raise ConfigError(f"{text}: invalid reference format: {registry} is not a host")
    path, _, tag = name.partition(":")
    if (tag and not _TAG.match(tag)) or name.endswith(":"):
        raise ConfigError(f"{text}: invalid reference format: {tag!r} is not a tag")
    if not path or len(path) > 255 or not all(map(_COMPONENT.match, path.split("/"))):
        lower = "; repository names are in lower case" if path != path.lower() else ""
        raise ConfigError(f"{text}: invalid reference format{lower}")
    reference = Reference(registry, path, tag, digest)
    return reference.at(registry) if registry == DOCKER_HUB else reference


def local_candidates(text: str) -> list[Reference]:
    """What a name given to ``run`` or ``rmi`` may stand for, in order; empty if it is no name."""
    try:
        reference = parse(text)
    except ConfigError:
        return []
    if reference.registry:
        return [reference]
    return [reference.at(LOCAL), reference.at(DOCKER_HUB)]


def local_name(text: str) -> Reference:
    """The full name under which something loaded or tagged here is kept (``localhost/``)."""
    reference = parse(text)
    return reference if reference.registry else reference.at(LOCAL)


def pull_name(text: str) -> Reference:
    """The full name to pull (``docker.io/`` for a short one)."""
    reference = parse(text)
    return reference if reference.registry else reference.at(DOCKER_HUB)
