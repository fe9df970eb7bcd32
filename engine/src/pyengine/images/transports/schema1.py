"""Images whose manifest is of schema 1: they are read as images of schema 2.

A manifest of schema 1 has neither config nor sizes nor the digests of uncompressed layers. So every
layer is fetched first, into a file without a name, and a config is made of the history.
"""

from __future__ import annotations

import os
import re

from pyengine.errors import ArchiveError
from pyengine.images import compression, manifests
from pyengine.images.manifests import Descriptor
from pyengine.images.transports import tarfiles
from pyengine.images.transports.base import WrittenSource
from pyengine.registry import schema1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyengine.images.transports.base import Blob, Source

_CHUNK_BYTES = 1 << 20
# What belongs to one step of the history rather than to the image.
_OF_A_STEP = ("id", "parent", "parent_id", "layer_id", "throwaway", "Size")


def opened(source: Source, directory: str, *, layers: bool = True) -> Source:
    """The source itself, or one of schema 2 that stands for it; close the answer only.

    Args:
        source: anything.
        directory: where the layers go meanwhile.
        layers: fetch them; without them the config knows no diff_ids, which does for inspection.

    Raises:
        ArchiveError: its manifest is of schema 1 and broken; or another error of the transport.
    """
    data, _ = source.manifest()
    fields = manifests.parse(data, source.label)
    if not isinstance(fields, dict) or fields.get("schemaVersion") != 1:
        return source
    return Schema1Source(source, data, fields, directory if layers else None)


class Schema1Source(WrittenSource):
    """What stands for an image of schema 1."""

    def __init__(
        self, source: Source, data: bytes, fields: dict[str, Any], directory: str | None
    ) -> None:
        self._source = source
        self.label, self.scope, self.reference = source.label, source.scope, source.reference
        self.tag_within = str(fields.get("tag") or "")
        self._digest = manifests.digest_of(schema1.payload(data, source.label))
        self._files: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        steps = _steps(fields, source.label)
        try:
            layers: list[dict[str, Any]] = []
            diff_ids = []
            for digest, step in steps:
                if directory is None:
                    layers.append(self._described(digest, manifests.DOCKER_LAYER_GZIP))
                elif not step.get("throwaway"):
                    layer, diff_id = self._fetch(digest, directory)
                    layers.append(layer)
                    diff_ids.append(diff_id)
        except BaseException:
            self._close_files()
            raise
        self._config = _config([step for _, step in steps], diff_ids)
        self.write_manifest(self._config, layers)

    def digest_of(self, data: bytes) -> str:
        """The digest of the manifest that this one stands for."""
        return self._digest if data == self.written else manifests.digest_of(data)

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class."""
        if blob.digest == manifests.digest_of(self._config):
            yield self._config
        else:
            yield from self._layer(blob.digest)

    def tags(self) -> list[str]:
        """As in the base class."""
        return self._source.tags()

    def signatures(self, digest: str) -> list[bytes]:
        """As in the base class."""
        return self._source.signatures(digest) if digest == self._digest else []

    def close(self) -> None:
        """As in the base class."""
        self._close_files()
        self._source.close()

    def _fetch(self, digest: str, directory: str) -> tuple[dict[str, Any], str]:
        """Get a layer; its descriptor and the digest of its tar."""
        blob = Descriptor(self._described(digest, ""), self.label)
        if digest not in self._files:
            fd = self._files[digest] = tarfiles.nameless_file(directory, self.label)
            with open(fd, "wb", closefd=False) as file:
                for chunk in compression.verified(self._source.blob(blob), blob, self.label):
                    file.write(chunk)
        tar = compression.uncompressed(self._layer(digest), f"{self.label}: blob {digest}")
        diff_id = manifests.digest_of_chunks(tar)
        media_type = manifests.DOCKER_LAYER if diff_id == digest else manifests.DOCKER_LAYER_GZIP
        return self._described(digest, media_type), diff_id

    def _described(self, digest: str, media_type: str) -> dict[str, Any]:
        if digest not in self._sizes:
            self._sizes[digest] = self._source.size_of(digest)
        return {"mediaType": media_type, "size": self._sizes[digest], "digest": digest}

    def _layer(self, digest: str) -> Iterator[bytes]:
        position = 0
        while chunk := os.pread(self._files[digest], _CHUNK_BYTES, position):
            position += len(chunk)
            yield chunk

    def _close_files(self) -> None:
        for fd in self._files.values():
            os.close(fd)
        self._files = {}


def _steps(fields: dict[str, Any], label: str) -> list[tuple[str, dict[str, Any]]]:
    """Each layer's digest and what its history says, the bottom first."""
    where = f"{label}: manifest"
    layers, history = fields.get("fsLayers"), fields.get("history")
    if not isinstance(layers, list) or not isinstance(history, list) or not layers:
        raise ArchiveError(f"{where}: fsLayers or history is missing")
    if len(layers) != len(history) or len(layers) > manifests.MAX_LAYERS:
        raise ArchiveError(f"{where}: {len(layers)} layers and {len(history)} steps of history")
    steps = []
    for layer, step in zip(layers, history, strict=True):
        digest = layer.get("blobSum") if isinstance(layer, dict) else None
        text = step.get("v1Compatibility") if isinstance(step, dict) else None
        if not isinstance(digest, str) or not manifests.DIGEST.match(digest):
            raise ArchiveError(f"{where}: {digest!r} is not a sha256 digest")
        found = manifests.parse(str(text).encode(), f"{where}: v1Compatibility")
        if not isinstance(found, dict):
            raise ArchiveError(f"{where}: v1Compatibility: not a JSON object")
        steps.append((digest, found))
    return steps[::-1]


def _config(steps: list[dict[str, Any]], diff_ids: list[str]) -> bytes:
    """The config of schema 2; written as Go writes it, so that everybody gets the same id."""
    config = {key: value for key, value in steps[-1].items() if key not in _OF_A_STEP}
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    config["history"] = [_history(step) for step in steps]
    ordered = {key: config[key] for key in sorted(config)}
    text = manifests.encode_in_order(ordered, ascii_only=False).decode()
    for one in "<>&\u2028\u2029":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return text.encode()


def _history(step: dict[str, Any]) -> dict[str, Any]:
    command = (step.get("container_config") or {}).get("Cmd") or []
    created = str(step.get("created") or "0001-01-01T00:00:00Z")
    found = {
        # Go leaves out the zeros at the end of a fraction
        "created": re.sub(r"\.(\d*?)0*Z\Z", lambda match: f".{match[1]}Z" if match[1] else "Z",
                          created),
        "author": step.get("author"),
        "created_by": " ".join(map(str, command)),
        "comment": step.get("comment"),
        "empty_layer": step.get("throwaway"),
    }  # fmt: skip
    return {key: value for key, value in found.items() if value or key == "created"}
