"""Artifacts made of files, for lists (image-spec manifest.md, "Guidelines for Artifact Usage").

A list keeps where the files are, not what is in them: they are read when the list is pushed.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os

from pyengine.errors import ArchiveError, ConfigError
from pyengine.images import manifests
from pyengine.images.transports.base import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyengine.images.transports.base import Blob

_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_UNKNOWN_KIND = "application/vnd.unknown.artifact.v1"
_TITLE = "org.opencontainers.image.title"
_CHUNK_BYTES = 1 << 20


class ArtifactOptions:
    """What an artifact says of itself.

    Attributes:
        kind: its type; empty for an unknown one.
        config: path of its config; empty for none.
        config_type: media type of that; empty for the usual one.
        layer_type: media type of the files; empty to guess it from each name.
        titles: whether it says how the files are called.
        subject: descriptor of the image that it belongs to, or None.
    """

    __slots__ = ("config", "config_type", "kind", "layer_type", "subject", "titles")

    def __init__(
        self, kind: str, config: str, config_type: str, layer_type: str, *, titles: bool
    ) -> None:
        self.kind, self.config, self.config_type = kind, config, config_type
        self.layer_type, self.titles = layer_type, titles
        self.subject: dict[str, Any] | None = None


def make(paths: tuple[str, ...], options: ArtifactOptions) -> dict[str, Any]:
    """A place for a list: the manifest, and by digest the paths of the blobs.

    Raises:
        ConfigError: a file cannot be read.
    """
    files: dict[str, str] = {}
    if options.config:
        kind = options.config_type or manifests.OCI_CONFIG
        config = _describe(options.config, kind, files)
    else:
        config = {
            "mediaType": options.config_type or _EMPTY_TYPE,
            "digest": manifests.digest_of(_EMPTY),
            "size": len(_EMPTY),
        }
        files[config["digest"]] = ""
    layers = []
    for path in paths:
        guessed = mimetypes.guess_type(path)[0] or "application/octet-stream"
        layer = _describe(path, options.layer_type or guessed, files)
        if options.titles:
            layer["annotations"] = {_TITLE: os.path.basename(path)}
        layers.append(layer)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "artifactType": options.kind or _UNKNOWN_KIND,
        "config": config,
        "layers": layers,
    }
    if options.subject is not None:
        manifest["subject"] = options.subject
    return {"manifest": manifests.encode_in_order(manifest).decode(), "files": files}


def entry(place: dict[str, Any]) -> dict[str, Any]:
    """What a list's index says of the artifact."""
    data = place["manifest"].encode()
    kind = manifests.parse(data, "artifact")["artifactType"]
    return {
        "mediaType": manifests.OCI_MANIFEST,
        "size": len(data),
        "digest": manifests.digest_of(data),
        "artifactType": kind,
    }


class ArtifactSource(Source):
    """An artifact of a list, as ``make`` noted it."""

    def __init__(self, place: dict[str, Any], label: str) -> None:
        self.label = label
        self._data, self._files = place["manifest"].encode(), place["files"]

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:  # noqa: ARG002 - it has one
        """As in the base class."""
        return self._data, manifests.OCI_MANIFEST

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class; whoever copies sees whether the file is another one now."""
        path = self._files[blob.digest]
        if not path:
            yield _EMPTY
            return
        try:
            with open(path, "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise ArchiveError(f"{self.label}: read {path}: {error.strerror}") from error


def _describe(path: str, kind: str, files: dict[str, str]) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            size = file.tell()
    except OSError as error:
        raise ConfigError(f"make an artifact of {path}: {error.strerror}") from error
    files[digest] = os.path.abspath(path)
    return {"mediaType": kind, "digest": digest, "size": size}
