"""``oci:`` and ``oci-archive:``: an OCI image layout, as a directory or as a tar of one."""

from __future__ import annotations

import json
import os

from pyengine.database.locks import DirectoryHold
from pyengine.errors import ArchiveError, StorageError
from pyengine.images import manifests
from pyengine.images.manifests import Manifest
from pyengine.images.transports import files
from pyengine.images.transports.base import COMPRESSED, Destination, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from pyengine.images.manifests import Descriptor
    from pyengine.images.transports.base import Blob
    from pyengine.images.transports.files import Files

REF_NAME = "org.opencontainers.image.ref.name"
_REF_NAMES = ("io.containerd.image.name", REF_NAME)
_LAYOUT = {"imageLayoutVersion": "1.0.0"}


class OciSource(Source):
    """One entry of a layout's index."""

    def __init__(self, found: Files, entry: Descriptor, label: str) -> None:
        self._files, self.entry = found, entry
        self.label = label
        self.names = [entry.annotations[key] for key in _REF_NAMES if entry.annotations.get(key)]

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """As in the base class; verified."""
        wanted = digest or self.entry.digest
        data = self._files.read(_blob_name(wanted))
        if manifests.digest_of(data) != wanted:
            found = manifests.digest_of(data)
            raise ArchiveError(f"{self.label}: manifest {wanted}: its digest is {found}")
        return data, self.entry.media_type if wanted == self.entry.digest else ""

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class."""
        return self._files.chunks(_blob_name(blob.digest))

    def close(self) -> None:
        """As in the base class."""
        self._files.close()


def entries(found: Files) -> list[Descriptor]:
    """What the layout's index lists.

    Raises:
        ArchiveError: it lists nothing, or is broken.
    """
    where = f"{found.label}: index.json"
    listed = manifests.index_entries(found.read("index.json"), where)
    if not listed:
        raise ArchiveError(f"{where}: it lists no image")
    return listed


def open_source(found: Files, name: str, label: str) -> OciSource:
    """The entry of this name or number (``@1``), or the only one.

    Raises:
        ArchiveError: there is none, or a name is needed.
    """
    listed = entries(found)
    if name.startswith("@"):
        if not name[1:].isdigit() or int(name[1:]) >= len(listed):
            raise ArchiveError(f"{label}: it has no image {name}, only @0 to @{len(listed) - 1}")
        return OciSource(found, listed[int(name[1:])], label)
    fitting = [
        entry for entry in listed if not name or name in map(entry.annotations.get, _REF_NAMES)
    ]
    if not fitting:
        raise ArchiveError(f"{label}: no descriptor found for reference {name!r}")
    if len(fitting) > 1 and len({entry.digest for entry in fitting}) > 1:
        names = ", ".join(str(entry.annotations.get(REF_NAME, entry.digest)) for entry in fitting)
        raise ArchiveError(f"{label}: more than one image in it: name one of {names}")
    return OciSource(found, fitting[0], label)


class OciDestination(Destination):
    """A layout in a directory; the index names the image when all of it is there."""

    layers = COMPRESSED
    takes_foreign = True
    manifest_types = (manifests.OCI_MANIFEST, manifests.OCI_INDEX)

    def __init__(self, directory: str, name: str, label: str, blobs: str | None = None) -> None:
        """``blobs`` is a directory for the blobs of several layouts."""
        self.label = label
        self._directory, self._name = directory, name
        self._blobs = f"{blobs or f'{directory}/blobs'}/sha256"
        self._entry: dict[str, Any] | None = None
        files.make_directory(directory, label)
        files.make_directory(self._blobs, label)

    def has_blob(self, blob: Descriptor, source: Source) -> bool:  # noqa: ARG002 - of the base
        """As in the base class."""
        return os.path.exists(self._path(blob.digest))

    def put_blob(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """As in the base class."""
        files.write(self._path(blob.digest), chunks, self.label)

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """As in the base class."""
        staged = f"{self._blobs}/.{os.urandom(8).hex()}"
        digest, size = files.write_hashed(staged, chunks, self.label)
        os.rename(staged, self._path(digest))
        return digest, size

    def put_manifest(self, data: bytes, media_type: str, *, instance: bool) -> None:
        """As in the base class."""
        digest = manifests.digest_of(data)
        files.write(self._path(digest), [data], self.label)
        if not instance:
            self._entry = {"mediaType": media_type, "digest": digest, "size": len(data)}
            if self._name:
                self._entry["annotations"] = {REF_NAME: self._name}

    def commit(self) -> None:
        """Put the image in the index in place of another of its name."""
        assert self._entry is not None
        with DirectoryHold(self._directory):  # several may write into one layout
            index = {"schemaVersion": 2, "manifests": [*self._others(), self._entry]}
            files.write(f"{self._directory}/oci-layout", [manifests.encode(_LAYOUT)], self.label)
            files.write(f"{self._directory}/index.json", [manifests.encode(index)], self.label)

    def _others(self) -> list[dict[str, Any]]:
        """What the index says of other images."""
        try:
            with open(f"{self._directory}/index.json", "rb") as file:
                index = json.loads(file.read())
            return [entry for entry in index["manifests"] if not self._replaces(entry)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArchiveError(f"{self.label}: its index.json is no index: {error}") from error

    def _replaces(self, entry: dict[str, Any]) -> bool:
        assert self._entry is not None
        name = (entry.get("annotations") or {}).get(REF_NAME, "")
        return bool(name == self._name and (self._name or entry["digest"] == self._entry["digest"]))

    def _path(self, digest: str) -> str:
        return f"{self._blobs}/{digest.removeprefix('sha256:')}"


class OciArchiveDestination(OciDestination):
    """A layout that becomes a tar when it is complete; the same image gives the same bytes."""

    def __init__(self, path: str, name: str, label: str) -> None:
        self._archive = os.path.abspath(path)
        super().__init__(files.staging_beside(self._archive, label), name, label)

    def commit(self) -> None:
        """Write the tar."""
        super().commit()
        blobs = (f"blobs/sha256/{name}" for name in sorted(os.listdir(self._blobs)))
        members = [(name, name) for name in ("oci-layout", "index.json", *blobs)]
        files.write_tar(self._archive, self._directory, members, self.label)

    def close(self) -> None:
        """Remove the directory."""
        files.remove_staged(self._directory)


def delete(directory: str, name: str, label: str, blobs: str | None = None) -> str:
    """Take an image out of a layout, with the blobs that only it needs; its digest.

    Blobs in a directory that several layouts share stay: others may need them.

    Raises:
        ArchiveError: there is no such image.
        StorageError: something cannot be written or removed.
    """
    found = files.Directory(directory, label, blobs)
    with DirectoryHold(directory):
        return _delete(found, directory, name, blobs)


def _delete(found: files.Directory, directory: str, name: str, blobs: str | None) -> str:
    label = found.label
    source = open_source(found, name, label)
    index = manifests.parse(found.read("index.json"), label)
    digest = source.entry.digest
    kept = [one for one in index["manifests"] if not _is_entry(one, source.entry)]
    index["manifests"] = kept
    files.write(f"{directory}/index.json", [manifests.encode_in_order(index)], label)
    needed = {one for entry in kept for one in _reachable(found, entry["digest"])}
    if blobs is None:
        for one in set(_reachable(found, digest)) - needed:
            try:
                os.unlink(f"{directory}/{_blob_name(one)}")
            except OSError as error:
                raise StorageError(f"delete {label}: remove {one}: {error.strerror}") from error
    return digest


def _is_entry(fields: dict[str, Any], entry: Descriptor) -> bool:
    same = fields["digest"] == entry.digest
    return same and (fields.get("annotations") or {}) == entry.annotations


def _reachable(found: Files, digest: str, depth: int = 0) -> Iterator[str]:
    """A manifest or index and everything below it that is there."""
    if _blob_name(digest) not in found or depth > manifests.MAX_DEPTH:
        return
    yield digest
    where = f"{found.label}: manifest {digest}"
    data = found.read(_blob_name(digest))
    if manifests.is_index(data, "", where):
        for entry in manifests.index_entries(data, where):
            yield from _reachable(found, entry.digest, depth + 1)
        return
    manifest = Manifest(data, "", where)
    yield from (
        one.digest for one in (manifest.config, *manifest.layers) if _blob_name(one.digest) in found
    )


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
