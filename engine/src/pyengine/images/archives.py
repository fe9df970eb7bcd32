"""Loading images from archives: docker-archive (docker save) and oci-archive, compressed or not."""

from __future__ import annotations

import io
import json
import os
import tarfile

from pyengine.errors import ArchiveError, StorageError
from pyengine.images import manifests, references
from pyengine.images.adding import NewImage, add_image, sha256
from pyengine.images.manifests import Descriptor, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyengine.images.store import Images
    from pyengine.storage.addition import LayerSource

_CHUNK_BYTES = 1 << 20
_MAX_MEMBERS = 100_000
_MAX_LINKS = 8

_REF_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class Archive:
    """The members of a seekable, uncompressed tar by name; their names never become paths."""

    def __init__(self, fd: int, label: str) -> None:
        """Read the table of members.

        Raises:
            ArchiveError: it is no tar archive, or cut short.
        """
        self.label = label
        self._fd = fd
        self._members: dict[str, tarfile.TarInfo] = {}
        end = os.fstat(fd).st_size
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            with (
                open(os.dup(fd), "rb", buffering=0) as file,
                tarfile.TarFile(fileobj=file, errors="surrogateescape") as archive,
            ):
                for number, member in enumerate(archive):
                    if number >= _MAX_MEMBERS:
                        raise ArchiveError(f"load {label}: more than {_MAX_MEMBERS} members")
                    if member.isreg() and member.offset_data + member.size > end:
                        raise ArchiveError(f"load {label}: it ends inside of {member.name}")
                    self._members[os.path.normpath(member.name)] = member
        except (tarfile.TarError, EOFError) as error:
            raise ArchiveError(f"load {label}: not a tar archive: {error}") from error
        except OSError as error:
            raise ArchiveError(f"load {label}: {error.strerror}") from error

    def __contains__(self, name: str) -> bool:
        return os.path.normpath(name) in self._members

    def size(self, name: str) -> int:
        """Bytes of a member."""
        return self._member(name).size

    def read(self, name: str) -> bytes:
        """A small member.

        Raises:
            ArchiveError: it is missing or too long.
        """
        if self.size(name) > manifests.MAX_BYTES:
            raise ArchiveError(f"load {self.label}: {name} is too long")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """A member's bytes; any number of threads may read at once."""
        member = self._member(name)
        position, end = member.offset_data, member.offset_data + member.size
        while position < end:
            chunk = os.pread(self._fd, min(_CHUNK_BYTES, end - position), position)
            if not chunk:
                raise ArchiveError(f"load {self.label}: it ends inside of {name}")
            position += len(chunk)
            yield chunk

    def _member(self, name: str) -> tarfile.TarInfo:
        """The regular file of this name; old archives link repeated layers to one another."""
        path = os.path.normpath(name)
        for _ in range(_MAX_LINKS):
            member = self._members.get(path)
            if member is None:
                break
            if member.isreg():
                return member
            if member.issym():
                path = os.path.normpath(f"{os.path.dirname(path)}/{member.linkname}")
            elif member.islnk():
                path = os.path.normpath(member.linkname)
            else:
                break
        raise ArchiveError(f"load {self.label}: {name} is not in the archive")


def load(
    images: Images, archive: Archive, report: Callable[[str], None]
) -> Iterator[tuple[list[str], str]]:
    """Add every image of an archive: yields the names (or none) and the id of each.

    Raises:
        ArchiveError: it is no archive of images, or a part is broken.
        StorageError: something cannot be written.
    """
    if "manifest.json" in archive:
        read = _docker_images
    elif "index.json" in archive:
        read = _oci_images
    else:
        raise ArchiveError(
            f"load {archive.label}: payload does not match any of the supported image formats: "
            "neither manifest.json (docker-archive) nor index.json (oci-archive) is in it"
        )
    for new, paths in read(archive):
        report("Getting image source signatures")

        def fetch(layer: LayerSource, paths: dict[str, str] = paths) -> Iterator[bytes]:
            return archive.chunks(paths[layer.digest])

        yield new.names, add_image(images, new, fetch, report)


def open_archive(source_fd: int, label: str, directory: str) -> int:
    """A descriptor of the seekable, uncompressed archive, the caller's to close.

    Args:
        source_fd: a file or a pipe.
        label: names it in messages.
        directory: where a nameless copy goes, if one is needed.

    Raises:
        ArchiveError: its compression is broken.
        StorageError: the copy cannot be written.
    """
    first = b""
    while len(first) < 6 and (more := os.read(source_fd, _CHUNK_BYTES)):
        first += more
    compressed = first.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"))
    if not compressed and _seekable(source_fd):
        return os.dup(source_fd)
    copy_fd = os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        with open(copy_fd, "wb", closefd=False) as copy:
            for block in _uncompressed(first, source_fd, label):
                copy.write(block)
    except OSError as error:
        os.close(copy_fd)
        raise StorageError(f"load {label}: write a copy: {error.strerror}") from error
    except BaseException:
        os.close(copy_fd)
        raise
    return copy_fd


def _seekable(fd: int) -> bool:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        return False
    return True


class _Input(io.RawIOBase):
    """A descriptor whose first bytes were read already."""

    def __init__(self, first: bytes, fd: int) -> None:
        self._first, self._fd = first, fd

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._first[: len(buffer)] or os.read(self._fd, len(buffer))
        self._first = self._first[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _uncompressed(first: bytes, fd: int, label: str) -> Iterator[bytes]:
    """In pieces of bounded size: a few bytes may stand for gigabytes."""
    source = io.BufferedReader(_Input(first, fd), _CHUNK_BYTES)
    reader = _decompressor(first, source)
    while True:
        try:
            block = reader.read(_CHUNK_BYTES)
        except EOFError as error:
            raise ArchiveError(f"load {label}: its compressed data ends too early") from error
        except Exception as error:  # one class per compression, without a common one
            raise ArchiveError(f"load {label}: its compression is damaged: {error}") from error
        if not block:
            return
        yield block


def _decompressor(first: bytes, source: Any) -> Any:
    if first.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=source)
    if first.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(source)
    if first.startswith(b"\xfd7zXZ\0"):
        import lzma

        return lzma.LZMAFile(source)
    if first.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    return source


def _docker_images(archive: Archive) -> Iterator[tuple[NewImage, dict[str, str]]]:
    where = f"load {archive.label}: manifest.json"
    entries = manifests.parse(archive.read("manifest.json"), where)
    if not isinstance(entries, list) or not entries:
        raise ArchiveError(f"{where}: not a list of images")
    for index, entry in enumerate(entries):
        yield _docker_image(archive, entry, f"{where}: /{index}")


def _docker_image(archive: Archive, entry: object, where: str) -> tuple[NewImage, dict[str, str]]:
    """A docker-archive has no manifest that a registry would know: one is written for it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        raise ArchiveError(f"{where}/Config: not a string")
    tags, files = entry.get("RepoTags") or [], entry.get("Layers") or []
    for key, value in (("RepoTags", tags), ("Layers", files)):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ArchiveError(f"{where}/{key}: not a list of strings")
    config = archive.read(entry["Config"])
    checked = manifests.check_config(config, f"load {archive.label}: {entry['Config']}")
    diff_ids = checked["rootfs"].get("diff_ids") or []
    if len(diff_ids) != len(files):
        raise ArchiveError(f"{where}/Layers: {len(files)} for {len(diff_ids)} diff_ids")
    layers, paths = [], {}
    for diff_id, file in zip(diff_ids, files, strict=True):
        compressed = next(archive.chunks(file), b"").startswith(b"\x1f\x8b")
        digest = _digest_of(archive, file) if compressed else diff_id
        paths[digest] = file
        media_type = manifests.DOCKER_LAYER_GZIP if compressed else manifests.DOCKER_LAYER
        layers.append({"mediaType": media_type, "size": archive.size(file), "digest": digest})
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifests.DOCKER_MANIFEST,
        "config": {
            "mediaType": manifests.DOCKER_CONFIG,
            "size": len(config),
            "digest": sha256(config),
        },
        "layers": layers,
    }
    data = json.dumps(manifest, separators=(",", ":")).encode()
    names = [references.local_name(tag).name for tag in tags]
    return NewImage(Manifest(data, manifests.DOCKER_MANIFEST, where), config, names), paths


def _digest_of(archive: Archive, name: str) -> str:
    import hashlib

    digest = hashlib.sha256()
    for chunk in archive.chunks(name):
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _oci_images(archive: Archive) -> Iterator[tuple[NewImage, dict[str, str]]]:
    where = f"load {archive.label}: index.json"
    entries = manifests.index_entries(archive.read("index.json"), where)
    if not entries:
        raise ArchiveError(f"{where}: it lists no image")
    for entry in entries:
        names = [
            references.local_name(entry.annotations[key]).name
            for key in _REF_NAMES
            if entry.annotations.get(key)
        ][:1]
        manifest = _oci_manifest(archive, entry)
        blobs = [manifest.config, *manifest.layers]
        paths = {blob.digest: _blob_name(blob.digest) for blob in blobs}
        config = archive.read(paths[manifest.config.digest])
        yield NewImage(manifest, config, names), paths


def _oci_manifest(archive: Archive, entry: Descriptor) -> Manifest:
    for _ in range(_MAX_LINKS):
        where = f"load {archive.label}: manifest {entry.digest}"
        data = archive.read(_blob_name(entry.digest))
        if sha256(data) != entry.digest:
            raise ArchiveError(f"{where}: its digest is {sha256(data)}")
        if not manifests.is_index(data, entry.media_type, where):
            return Manifest(data, entry.media_type, where)
        choices = manifests.index_entries(data, where)
        entry = manifests.choose_platform(choices, manifests.host_platform(), where)
    raise ArchiveError(f"load {archive.label}: indexes within indexes")


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
