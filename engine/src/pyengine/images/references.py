"""Names of images: ``[registry/]repository[:tag][@digest]``, and what short ones stand for."""

from __future__ import annotations

from pyengine.errors import ConfigError

DOCKER_HUB = "docker.io"
LOCAL = "localhost"

# Sets rather than regular expressions: importing re would take 8 ms of every run.
_DIGITS = set("0123456789")
_LOWER = _DIGITS | set("abcdefghijklmnopqrstuvwxyz")
_LETTERS = _LOWER | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = _DIGITS | set("abcdef")
_TO_SPACE = dict.fromkeys(map(ord, _LOWER), " ")
_MAX_TAG = 128


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
    if digest and not _is_digest(digest):
        raise ConfigError(f"{text}: invalid reference format: {digest} is not a sha256 digest")
    registry = ""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == LOCAL):
        registry, name = first, rest
        if not _is_registry(registry):
            raise ConfigError(f"{text}: invalid reference format: {registry} is not a host")
    path, _, tag = name.partition(":")
    if (tag and not _is_tag(tag)) or name.endswith(":"):
        raise ConfigError(f"{text}: invalid reference format: {tag!r} is not a tag")
    if not path or len(path) > 255 or not all(map(_is_component, path.split("/"))):
        lower = "; repository names are in lower case" if path != path.lower() else ""
        raise ConfigError(f"{text}: invalid reference format{lower}")
    reference = Reference(registry, path, tag, digest)
    return reference.at(registry) if registry == DOCKER_HUB else reference


def _is_digest(text: str) -> bool:
    return text.startswith("sha256:") and len(text) == 71 and set(text[7:]) <= _HEX


def _is_tag(text: str) -> bool:
    return len(text) <= _MAX_TAG and text[0] not in ".-" and set(text) <= _LETTERS | set("_.-")


def _is_component(text: str) -> bool:
    """Lower-case letters and digits; between them one dot, one or two underscores, or dashes."""
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    if not set(text) <= _LOWER | set("._-"):
        return False
    separators = text.translate(_TO_SPACE).split()
    return all(one in (".", "_", "__") or not one.strip("-") for one in separators)


def _is_registry(text: str) -> bool:
    """A host name or an IPv6 address in brackets, perhaps with a port."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        good = bool(host and bracket) and set(host.lower()) <= _HEX | {":"}
    else:
        host, colon, port = text.partition(":")
        port = colon + port
        good = bool(host) and set(host) <= _LETTERS | set(".-")
        good = good and host[0] in _LETTERS and host[-1] in _LETTERS
    return good and (not port or (port[0] == ":" and port != ":" and set(port[1:]) <= _DIGITS))


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
