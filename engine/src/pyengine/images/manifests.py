"""Manifests, indexes and configs of images, checked before anything else looks at them."""

from __future__ import annotations

import datetime
import hashlib
import json
import re

from pyengine.errors import ArchiveError
from pyengine.images import platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MAX_BYTES = 4 << 20
MAX_LAYERS = 500
MAX_DEPTH = 8  # of indexes within indexes

_FOREIGN = ("nondistributable", "rootfs.foreign")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")

_VARIANTS = {"arm": ["v8", "v7", "v6", "v5"], "arm64": ["v8"]}  # each runs those after it

# A registry or file system that knows nothing of images says one of these of anything.
_NEUTRAL = ("", "application/json", "application/octet-stream", "text/plain")
_NOT_OF_IMAGE = ("manifests", "fsLayers", "history")
_NOT_OF_INDEX = ("config", "layers", "fsLayers", "history")


class Descriptor:
    """A blob as a manifest names it (image-spec descriptor.md)."""

    __slots__ = ("annotations", "digest", "media_type", "platform", "size", "urls")

    def __init__(self, value: object, where: str) -> None:
        """Check ``value``, found at ``where``.

        Raises:
            ArchiveError: it is no descriptor.
        """
        fields = _object(value, where)
        digest, size = fields.get("digest"), fields.get("size")
        if not isinstance(digest, str) or not DIGEST.match(digest):
            raise ArchiveError(f"{where}/digest: {digest!r} is not a sha256 digest")
        if type(size) is not int or size < 0:
            raise ArchiveError(f"{where}/size: {size!r} is not a size")
        self.digest = digest
        self.size: int = size
        self.media_type = str(fields.get("mediaType", ""))
        self.platform = _object(fields.get("platform") or {}, f"{where}/platform")
        self.annotations = _object(fields.get("annotations") or {}, f"{where}/annotations")
        urls = fields.get("urls") or []
        if not _strings(urls):
            raise ArchiveError(f"{where}/urls: not a list of strings")
        self.urls: list[str] = urls if self.is_foreign else []

    @property
    def is_foreign(self) -> bool:
        """Whether it is a layer that registries do not keep, which comes from its ``urls``."""
        return any(word in self.media_type for word in _FOREIGN)


class Manifest:
    """An image manifest; ``data`` are its bytes as they came."""

    __slots__ = ("artifact_type", "config", "data", "layers", "media_type")

    def __init__(self, data: bytes, media_type: str, where: str) -> None:
        """Check ``data``.

        Raises:
            ArchiveError: it is no manifest of an image this program can run.
        """
        fields = _object(parse(data, where), where)
        if fields.get("schemaVersion") != 2:
            raise ArchiveError(f"{where}/schemaVersion: {fields.get('schemaVersion')!r}, not 2")
        _check_type(fields, media_type, (OCI_MANIFEST, DOCKER_MANIFEST), where)
        _check_unambiguous(fields, _NOT_OF_IMAGE, where)
        self.data = data
        self.media_type = str(fields.get("mediaType") or media_type or OCI_MANIFEST)
        self.config = Descriptor(fields.get("config"), f"{where}/config")
        layers = _list(fields.get("layers"), f"{where}/layers")
        if len(layers) > MAX_LAYERS:
            raise ArchiveError(f"{where}/layers: {len(layers)} layers, at most {MAX_LAYERS} work")
        self.layers = [
            Descriptor(layer, f"{where}/layers/{index}") for index, layer in enumerate(layers)
        ]
        self.artifact_type = str(fields.get("artifactType") or "")

    def check_is_image(self, where: str) -> None:
        """Whether it can be unpacked and run.

        Raises:
            ArchiveError: it is an artifact, or its layers are encrypted.
        """
        kind = self.config.media_type
        if kind not in ("", OCI_CONFIG, DOCKER_CONFIG):
            kind = self.artifact_type or kind
            raise ArchiveError(
                f"{where}: unsupported image-specific operation on artifact with type {kind!r}: "
                "it is no image that can run; copy it with skopeo copy"
            )
        for layer in self.layers:
            if layer.media_type.endswith("+encrypted"):
                raise ArchiveError(
                    f"{where}: layer {layer.digest} is encrypted ({layer.media_type}), and layers "
                    "cannot be decrypted here; decrypt the image where its key is"
                )


def digest_of(data: bytes) -> str:
    """``sha256:...`` of a small blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of_chunks(chunks: Iterator[bytes]) -> str:
    """``sha256:...`` of a large one."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def encode_in_order(value: object, *, ascii_only: bool = True) -> bytes:
    """JSON with the keys as they are, in which manifests are usually written."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def of_image(
    config: bytes,
    layers: list[dict[str, Any]],
    media_type: str,
    annotations: dict[str, str] | None = None,
) -> bytes:
    """A manifest of OCI's or Docker's type, its keys in the order in which those write them."""
    digest, size = digest_of(config), len(config)
    if media_type == DOCKER_MANIFEST:
        described: dict[str, Any] = {"mediaType": DOCKER_CONFIG, "size": size, "digest": digest}
    else:
        described = {"mediaType": OCI_CONFIG, "digest": digest, "size": size}
    fields = {
        "schemaVersion": 2, "mediaType": media_type, "config": described, "layers": layers,
    }  # fmt: skip
    if annotations:
        fields["annotations"] = annotations
    return encode_in_order(fields)


def encode(value: object) -> bytes:
    """JSON that is the same for the same value."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def parse(data: bytes, where: str) -> Any:
    """JSON of untrusted origin.

    Raises:
        ArchiveError: too long, or not JSON.
    """
    if len(data) > MAX_BYTES:
        raise ArchiveError(f"{where}: longer than {MAX_BYTES} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is a ValueError too
        raise ArchiveError(f"{where}: not JSON: {error}") from error


def index_entries(data: bytes, where: str) -> list[Descriptor]:
    """The manifests of an index or manifest list."""
    fields = _object(parse(data, where), where)
    _check_unambiguous(fields, _NOT_OF_INDEX, where)
    entries = _list(fields.get("manifests"), f"{where}/manifests")
    return [Descriptor(entry, f"{where}/manifests/{index}") for index, entry in enumerate(entries)]


def _check_type(fields: dict[str, Any], given: str, known: tuple[str, ...], where: str) -> None:
    """Whether the place or the document itself says that this is a type we know, or neither any."""
    said = [str(one) for one in (given, fields.get("mediaType") or "") if one not in _NEUTRAL]
    if said and not any(one in known for one in said):
        raise ArchiveError(
            f"{where}: unknown media type {said[0]!r}: an image's is {' or '.join(known)}"
        )


def _check_unambiguous(fields: dict[str, Any], others: tuple[str, ...], where: str) -> None:
    """Two readers must not see two images in one document (CVE-2021-41190)."""
    found = [key for key in others if fields.get(key) is not None]
    if found:
        raise ArchiveError(f"{where}: ambiguous manifest: it also has {', '.join(found)}")


def is_index(data: bytes, media_type: str, where: str) -> bool:
    """Whether this is an index rather than a manifest; the content decides where no type does."""
    if media_type in (OCI_INDEX, DOCKER_LIST):
        return True
    return "manifests" in _object(parse(data, where), where)


def choose_platform(entries: list[Descriptor], wanted: str, where: str) -> Descriptor:
    """The entry for a platform.

    Args:
        entries: of an index.
        wanted: ``os/architecture[/variant]``.
        where: names the index in messages.

    Raises:
        ArchiveError: there is none; the message lists what there is.
    """
    words = wanted.split("/")
    for entry in entries:
        if _platform_words(entry)[: len(words)] == words:
            return entry
    for fitting in _fitting(words):
        for entry in entries:
            if _platform_words(entry) == fitting:
                return entry
    if len(entries) == 1 and not entries[0].platform:
        return entries[0]
    offers = ", ".join("/".join(_platform_words(entry)) for entry in entries) or "none"
    raise ArchiveError(f"{where}: no image for {wanted}; it has {offers}; choose with --platform")


def _fitting(words: list[str]) -> Iterator[list[str]]:
    """What else serves a platform with a variant: older ones, the next first, and none at all."""
    system, architecture, variant = (*words, "", "")[:3]
    older = _VARIANTS.get(architecture, [])
    if variant in older:
        for one in older[older.index(variant) + 1 :]:
            yield [system, architecture, one]
        yield [system, architecture]


def platform_of(system: str | None, arch: str | None, variant: str | None) -> str:
    """A platform of which only a part was said; the rest is this machine's."""
    host_system, host_arch = platforms.host().split("/")
    words = [system or host_system, arch or host_arch, variant]
    return "/".join(word for word in words if word)


def check_config(data: bytes, where: str) -> dict[str, Any]:
    """An image config whose types everybody may rely on (image-spec config.md).

    Raises:
        ArchiveError: a value has a wrong type.
    """
    config = _object(parse(data, where), where)
    rootfs = _object(config.get("rootfs"), f"{where}/rootfs")
    for index, diff_id in enumerate(_list(rootfs.get("diff_ids") or [], f"{where}/rootfs")):
        if not isinstance(diff_id, str) or not DIGEST.match(diff_id):
            raise ArchiveError(f"{where}/rootfs/diff_ids/{index}: not a sha256 digest")
    _check_strings(config, where, "architecture", "os", "created", "author", "docker_version")
    for index, step in enumerate(_list(config.get("history") or [], f"{where}/history")):
        place = f"{where}/history/{index}"
        _check_strings(_object(step, place), place, "created", "created_by", "author", "comment")
    inner = _object(config.get("config") or {}, f"{where}/config")
    for key, check in _CONFIG_TYPES.items():
        if inner.get(key) is not None and not check(inner[key]):
            raise ArchiveError(f"{where}/config/{key}: {inner[key]!r} has the wrong type")
    return config


def _check_strings(fields: dict[str, Any], where: str, *keys: str) -> None:
    for key in keys:
        if not isinstance(fields.get(key) or "", str):
            raise ArchiveError(f"{where}/{key}: not a string")


def created_at(config: dict[str, Any]) -> float:
    """When the image was made, by its own word; 0 where it says nothing usable."""
    text = config.get("created") or ""
    try:
        return max(0.0, datetime.datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0.0


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _string_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


_CONFIG_TYPES: dict[str, Callable[[object], bool]] = {
    "Env": _strings,
    "Cmd": _strings,
    "Entrypoint": _strings,
    "User": lambda value: isinstance(value, str),
    "WorkingDir": lambda value: isinstance(value, str),
    "StopSignal": lambda value: isinstance(value, str),
    "Labels": _string_map,
    "Volumes": lambda value: isinstance(value, dict),
    "ExposedPorts": lambda value: isinstance(value, dict),
}


def _platform_words(entry: Descriptor) -> list[str]:
    fields = entry.platform
    words = [fields.get("os", "unknown"), fields.get("architecture", "unknown")]
    return [str(word) for word in [*words, fields.get("variant")] if word]


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArchiveError(f"{where}: not a JSON object")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ArchiveError(f"{where}: not a list")
    return value
