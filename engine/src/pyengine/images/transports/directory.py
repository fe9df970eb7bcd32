"""``dir:``: a plain directory with one image's manifest, blobs and signatures."""

from __future__ import annotations

import os

from pyengine.images import manifests
from pyengine.images.transports import files
from pyengine.images.transports.base import KEEP, Destination, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyengine.images.manifests import Descriptor
    from pyengine.images.transports.base import Blob

_VERSION = b"Directory Transport Version: 1.1\n"


class DirectorySource(Source):
    """What ``DirectoryDestination`` or skopeo wrote."""

    def __init__(self, path: str, label: str) -> None:
        self.label = label
        self._files = files.Directory(path, label)
        self.scope = ("dir", os.path.abspath(path))

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """As in the base class."""
        name = "manifest.json" if digest is None else f"{digest[7:]}.manifest.json"
        return self._files.read(name), ""

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class."""
        return self._files.chunks(blob.digest[7:])

    def size_of(self, digest: str) -> int:
        """As in the base class."""
        return self._files.size(digest[7:])

    def signatures(self, digest: str) -> list[bytes]:
        """Those of the manifest, or of one of an index."""
        top = digest == manifests.digest_of(self._files.read("manifest.json"))
        prefix = "" if top else f"{digest[7:]}."
        found: list[bytes] = []
        while f"{prefix}signature-{len(found) + 1}" in self._files:
            found.append(self._files.read(f"{prefix}signature-{len(found) + 1}"))
        return found


class DirectoryDestination(Destination):
    """One image; what was in the directory goes."""

    layers = KEEP

    def __init__(self, path: str, label: str) -> None:
        self.label = label
        self._path = path
        self._top = ""
        files.make_directory(path, label)
        for name in os.listdir(path):
            if name == "version" or name.endswith("manifest.json") or "signature-" in name:
                os.unlink(f"{path}/{name}")

    def has_blob(self, blob: Descriptor, source: Source) -> bool:  # noqa: ARG002 - of the base
        """As in the base class."""
        return os.path.exists(f"{self._path}/{blob.digest[7:]}")

    def put_blob(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """As in the base class."""
        files.write(f"{self._path}/{blob.digest[7:]}", chunks, self.label)

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """As in the base class."""
        return files.write_by_digest(self._path, chunks, self.label)

    def put_manifest(self, data: bytes, media_type: str, *, instance: bool) -> None:  # noqa: ARG002 - the type is in the data
        """As in the base class."""
        digest = manifests.digest_of(data)
        if not instance:
            self._top = digest
        name = f"{digest[7:]}.manifest.json" if instance else "manifest.json"
        files.write(f"{self._path}/{name}", [data], self.label)

    def put_signatures(self, digest: str, signatures: list[bytes]) -> None:
        """As in the base class, after the manifest."""
        prefix = "" if digest == self._top else f"{digest[7:]}."
        for number, signature in enumerate(signatures, 1):
            files.write(f"{self._path}/{prefix}signature-{number}", [signature], self.label)

    def commit(self) -> None:
        """Say what kind of directory this is."""
        files.write(f"{self._path}/version", [_VERSION], self.label)
