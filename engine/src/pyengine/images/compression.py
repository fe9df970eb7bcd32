"""Compressing layers on their way, and what a media type says of a layer's compression."""

from __future__ import annotations

import hashlib
import zlib

from pyengine.errors import ArchiveError, ConfigError
from pyengine.images import manifests
from pyengine.storage import layer_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from pyengine.images.manifests import Descriptor

FORMATS = ("gzip", "none", "zstd")
_CHUNK_BYTES = 1 << 20
_LEVELS = {"gzip": (1, 9), "zstd": (1, 20)}
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_TYPES = {
    ("oci", "none"): manifests.OCI_LAYER,
    ("oci", "gzip"): f"{manifests.OCI_LAYER}+gzip",
    ("oci", "zstd"): f"{manifests.OCI_LAYER}+zstd",
    ("v2s2", "none"): manifests.DOCKER_LAYER,
    ("v2s2", "gzip"): manifests.DOCKER_LAYER_GZIP,
}
_COMPRESSIONS = {name: compression for (_, compression), name in _TYPES.items()}


def of_media_type(media_type: str) -> str | None:
    """gzip, zstd or none; None for what is no layer's tar and must stay as it is."""
    return _COMPRESSIONS.get(media_type)


def media_type(form: str, compression: str) -> str:
    """The type of a layer in a manifest of a format.

    Raises:
        ConfigError: Docker's format knows no zstd.
    """
    try:
        return _TYPES[form, compression]
    except KeyError:
        raise ConfigError(
            f"compress layers with {compression}: manifests of format {form} cannot say it; "
            "use --format oci"
        ) from None


def foreign_type(media_type: str, form: str | None) -> str:
    """The type of a foreign layer in a manifest of a format; None keeps it."""
    packed = media_type.endswith(("+gzip", ".gzip"))
    if form == "oci":
        return f"{_OCI_FOREIGN}+gzip" if packed else _OCI_FOREIGN
    if form == "v2s2":
        return f"{_DOCKER_FOREIGN}.gzip" if packed else _DOCKER_FOREIGN
    return media_type


def check_level(compression: str, level: int) -> None:
    """Whether a format has this level.

    Raises:
        ConfigError: it has not.
    """
    least, most = _LEVELS.get(compression, (0, 0))
    if not least <= level <= most:
        raise ConfigError(
            f"--compression-level {level}: {compression} has levels {least} to {most}"
        )


def compressed(chunks: Iterable[bytes], compression: str, level: int | None) -> Iterator[bytes]:
    """The bytes compressed; the same bytes give the same result."""
    if compression == "none":
        yield from chunks
        return
    if compression == "zstd":
        import zstandard

        packer: Any = zstandard.ZstdCompressor(3 if level is None else level).compressobj()
    else:
        packer = _gzip_packer(level)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _gzip_packer(level: int | None) -> Any:
    """With isal unless a level is given: ten times as fast as zlib's 6, a twentieth larger."""
    library = layer_stream.fastest_zlib() if level is None else zlib
    if library is zlib:
        return zlib.compressobj(6 if level is None else level, zlib.DEFLATED, 31)
    return library.compressobj(library.ISAL_BEST_COMPRESSION, library.DEFLATED, 31)


def uncompressed(chunks: Iterator[bytes], label: str) -> Iterator[bytes]:
    """The tar of a layer.

    Raises:
        ArchiveError: its compression is damaged.
    """
    try:
        yield from layer_stream.uncompressed(chunks)
    except layer_stream.UnpackError as error:
        raise ArchiveError(f"{label}: {error}") from error


def verified(chunks: Iterable[bytes], blob: Descriptor, label: str) -> Iterator[bytes]:
    """The same bytes; the last of them only come when all of them are right.

    Raises:
        ArchiveError: digest or size is wrong.
    """
    digest, size, held = hashlib.sha256(), 0, b""
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > blob.size:
            break
        if held:
            yield held
        held = chunk
    if size != blob.size:
        more = "more than that came" if size > blob.size else f"{size} bytes came"
        raise ArchiveError(f"{label}: blob {blob.digest} has {blob.size} bytes, {more}")
    if f"sha256:{digest.hexdigest()}" != blob.digest:
        raise ArchiveError(
            f"{label}: the digest of blob {blob.digest} is sha256:{digest.hexdigest()}"
        )
    if held:
        yield held
