"""``oci:`` and ``oci-archive:``: an OCI image layout, as a directory or as a tar of one."""

from __future__ import annotations

import json
import os
import shutil
import tarfile

from pyengine.errors import ArchiveError, ConfigError, StorageError
from pyengine.images import manifests
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
        self._files, self._entry = found, entry
        self.label = label
        self.names = [entry.annotations[key] for key in _REF_NAMES if entry.annotations.get(key)]

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """As in the base class; verified."""
        wanted = digest or self._entry.digest
        data = self._files.read(_blob_name(wanted))
        if manifests.digest_of(data) != wanted:
            found = manifests.digest_of(data)
            raise ArchiveError(f"{self.label}: manifest {wanted}: its digest is {found}")
        return data, self._entry.media_type if wanted == self._entry.digest else ""

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
    """The entry of this name, or the only one.

    Raises:
        ArchiveError: there is none, or a name is needed.
    """
    listed = entries(found)
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
    manifest_types = (manifests.OCI_MANIFEST, manifests.OCI_INDEX)

    def __init__(self, directory: str, name: str, label: str) -> None:
        self.label = label
        self._directory, self._name = directory, name
        self._entry: dict[str, Any] | None = None
        files.make_directory(f"{directory}/blobs/sha256", label)

    def has_blob(self, blob: Descriptor, source: Source) -> bool:  # noqa: ARG002 - of the base
        """As in the base class."""
        return os.path.exists(self._path(blob.digest))

    def put_blob(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """As in the base class."""
        files.write(self._path(blob.digest), chunks, self.label)

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """As in the base class."""
        staged = f"{self._directory}/blobs/sha256/.{os.urandom(8).hex()}"
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
        path = f"{self._directory}/index.json"
        try:
            with open(path, "rb") as file:
                index = json.loads(file.read())
            kept = [entry for entry in index["manifests"] if not self._replaces(entry)]
        except FileNotFoundError:
            kept = []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArchiveError(f"{self.label}: its index.json is no index: {error}") from error
        index = {"schemaVersion": 2, "manifests": [*kept, self._entry]}
        files.write(f"{self._directory}/oci-layout", [manifests.encode(_LAYOUT)], self.label)
        files.write(path, [manifests.encode(index)], self.label)

    def _replaces(self, entry: dict[str, Any]) -> bool:
        assert self._entry is not None
        name = (entry.get("annotations") or {}).get(REF_NAME, "")
        return bool(name == self._name and (self._name or entry["digest"] == self._entry["digest"]))

    def _path(self, digest: str) -> str:
        return f"{self._directory}/{_blob_name(digest)}"


class OciArchiveDestination(OciDestination):
    """A layout that becomes a tar when it is complete; the same image gives the same bytes."""

    def __init__(self, path: str, name: str, label: str) -> None:
        if os.path.exists(path) and os.path.getsize(path):
            raise ConfigError(f"{label}: {path} exists, and an archive cannot be added to")
        self._archive = os.path.abspath(path)
        super().__init__(files.staging_beside(self._archive, label), name, label)

    def commit(self) -> None:
        """Write the tar."""
        super().commit()
        staged = f"{self._directory}.tar"
        try:
            with tarfile.open(staged, "w", format=tarfile.PAX_FORMAT) as archive:
                for name in ("oci-layout", "index.json"):
                    files.add_member(archive, name, f"{self._directory}/{name}")
                for name in sorted(os.listdir(f"{self._directory}/blobs/sha256")):
                    member = f"blobs/sha256/{name}"
                    files.add_member(archive, member, f"{self._directory}/{member}")
            os.rename(staged, self._archive)
        except OSError as error:
            raise StorageError(f"write {self.label}: {error.strerror}") from error

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self._directory, ignore_errors=True)
        if os.path.exists(f"{self._directory}.tar"):
            os.unlink(f"{self._directory}.tar")


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
