"""What a place is to whoever copies: manifests and blobs to read, or to write."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyengine.errors import ArchiveError, ConfigError
from pyengine.images import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from pyengine.images.manifests import Descriptor
    from pyengine.images.references import Reference
    from pyengine.storage.addition import LayerSource

    Blob = Descriptor | LayerSource

# What becomes of layers on their way.
KEEP, COMPRESSED, UNCOMPRESSED = "keep", "compressed", "uncompressed"


class Source(ABC):
    """One image, or one index of images.

    Attributes:
        label: names it in messages.
        scope: its transport and name for the signature policy.
        reference: its full name, where it has one.
        tag_within: the tag that the manifest itself names, as those of schema 1 do.
    """

    label, tag_within = "", ""
    scope: tuple[str, str] = ("", "")
    reference: Reference | None = None

    @abstractmethod
    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """The manifest or index, or the one with this digest, and its media type.

        Raises:
            RegistryError: or ArchiveError, by the transport: it is not there.
        """

    @abstractmethod
    def blob(self, blob: Blob) -> Iterator[bytes]:
        """A blob's bytes, not verified yet; any number of threads may read at once."""

    def size_of(self, digest: str) -> int:
        """Bytes of a blob that no descriptor tells.

        Raises:
            ArchiveError: this place cannot say; or another error of the transport.
        """
        raise ArchiveError(f"{self.label}: it does not say how long blob {digest} is")

    def digest_of(self, data: bytes) -> str:
        """Under which digest others know a manifest of this source, signatures among them."""
        return manifests.digest_of(data)

    def blob_from(self, blob: Blob, begin: int) -> Iterator[bytes]:
        """The same from a position on; a place that cannot jump there reads on to it."""
        position = 0
        for chunk in self.blob(blob):
            position += len(chunk)
            if position > begin:
                yield chunk[max(0, len(chunk) - (position - begin)) :]

    def small_blob(self, blob: Blob) -> bytes:
        """A config, verified.

        Raises:
            ArchiveError: it is too long, or not what its digest says.
        """
        if blob.size > manifests.MAX_BYTES:
            raise ArchiveError(f"{self.label}: blob {blob.digest} is too long")
        data = bytearray()
        for chunk in self.blob(blob):
            data += chunk
            if len(data) > blob.size:
                break
        if manifests.digest_of(bytes(data)) != blob.digest:
            found = manifests.digest_of(bytes(data))
            raise ArchiveError(
                f"{self.label}: config: its digest is {found}, its manifest says {blob.digest}"
            )
        return bytes(data)

    def tags(self) -> list[str]:
        """Every tag of the image's repository; only registries have any."""
        return []

    def signatures(self, digest: str) -> list[bytes]:
        """Simple signatures of the manifest with this digest; most places have none."""
        del digest
        return []

    def close(self) -> None:  # noqa: B027 - few have anything open
        """Free what was opened."""


class WrittenSource(Source):
    """An image that comes with no manifest of today: one of Docker's is written here.

    Attributes:
        written: the manifest.
    """

    written: bytes

    def write_manifest(self, config: bytes, layers: list[dict[str, Any]]) -> None:
        """Write it of the image's config and the descriptors of its layers."""
        self.written = manifests.of_image(config, layers, manifests.DOCKER_MANIFEST)

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """As in the base class."""
        if digest not in (None, manifests.digest_of(self.written)):
            raise ArchiveError(f"{self.label}: it has no manifest {digest}")
        return self.written, manifests.DOCKER_MANIFEST


class Destination(ABC):
    """Where one image, or one index of images, is written.

    Attributes:
        label: names it in messages.
        layers: KEEP, COMPRESSED or UNCOMPRESSED.
        parallel: how many blobs may be written at once.
        takes_foreign: whether a layer that comes from elsewhere may be missing here.
        manifest_types: what it takes, the preferred one first; empty: anything.
        takes_index: whether several images fit.
    """

    label = ""
    layers = KEEP
    parallel = 1
    takes_foreign = False
    manifest_types: tuple[str, ...] = ()
    takes_index = True

    def has_blob(self, blob: Descriptor, source: Source) -> bool:  # noqa: ARG002 - few look
        """Whether a blob is there already, or could be had without sending it."""
        return False

    @abstractmethod
    def put_blob(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write a blob of known digest and size; the chunks end with an error if they are wrong."""

    @abstractmethod
    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Write a blob that is made meanwhile; its digest and size."""

    @abstractmethod
    def put_manifest(self, data: bytes, media_type: str, *, instance: bool) -> None:
        """Write a manifest after its blobs; ``instance``: an index that names it follows."""

    def put_signatures(self, digest: str, signatures: list[bytes]) -> None:
        """Write simple signatures.

        Raises:
            ConfigError: there is no place for them here.
        """
        del digest
        if signatures:
            raise ConfigError(
                f"copy signatures to {self.label}: it cannot keep them; "
                "leave them out with --remove-signatures"
            )

    def commit(self) -> None:  # noqa: B027 - a registry has nothing to do here
        """Make everything visible."""

    def close(self) -> None:  # noqa: B027 - a registry has nothing to do here
        """Free what was opened; without a commit nothing stays visible."""
