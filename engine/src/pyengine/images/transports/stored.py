"""``containers-storage:``: an image of our own store, as a source."""

from __future__ import annotations

from pyengine.errors import NotFoundError, StorageError
from pyengine.images.transports.base import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyengine.images.model import Image
    from pyengine.images.store import Images
    from pyengine.images.transports.base import Blob

_CHUNK_BYTES = 1 << 20


class StoredSource(Source):
    """Manifest and blobs as they once came, so that their digests stay."""

    def __init__(self, images: Images, image: Image, label: str) -> None:
        self._images, self._image = images, image
        self.label, self.names = label, image.names
        self.scope = ("containers-storage", label)

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """As in the base class."""
        wanted = digest or self._image.manifest_digest
        return b"".join(self._chunks(wanted)), ""

    def blob(self, blob: Blob) -> Iterator[bytes]:
        """As in the base class."""
        return self._chunks(blob.digest)

    def signatures(self, digest: str) -> list[bytes]:
        """Those that came with the image, or were made for it."""
        with self._images.database.read() as connection:
            rows = connection.execute(
                "SELECT digest FROM image_signatures WHERE image_id = ? AND manifest_digest = ?",
                (self._image.id, digest),
            ).fetchall()
        return [b"".join(self._chunks(row[0])) for row in rows]

    def _chunks(self, digest: str) -> Iterator[bytes]:
        try:
            with open(self._images.storage.blob_path(digest), "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.label}: {digest} was removed meanwhile") from error
        except OSError as error:
            raise StorageError(f"{self.label}: read {digest}: {error.strerror}") from error
