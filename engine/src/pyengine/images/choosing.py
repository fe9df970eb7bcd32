"""Which manifest of a source is meant: its own, or the one of an index for a platform."""

from __future__ import annotations

from pyengine.errors import ArchiveError
from pyengine.images import manifests, platforms
from pyengine.images.manifests import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.images.transports.base import Source


def choose(source: Source, platform: str | None = None) -> tuple[Manifest, list[str]]:
    """The manifest, and the digests that led to it, its own last.

    Args:
        source: of an image or an index.
        platform: ``os/architecture[/variant]``; None for this machine's.

    Raises:
        ArchiveError: it is broken, or has nothing for this platform.
    """
    data, media_type = source.manifest()
    digests = [source.digest_of(data)]
    for _ in range(manifests.MAX_DEPTH):
        where = f"{source.label}: manifest {digests[-1]}"
        if not manifests.is_index(data, media_type, where):
            return Manifest(data, media_type, where), digests
        entries = manifests.index_entries(data, where)
        entry = manifests.choose_platform(entries, platform or platforms.host(), where)
        data, media_type = instance(source, entry.digest)
        digests.append(entry.digest)
    raise ArchiveError(f"{source.label}: indexes within indexes")


def instance(source: Source, digest: str) -> tuple[bytes, str]:
    """A manifest that an index names, verified."""
    data, media_type = source.manifest(digest)
    if manifests.digest_of(data) != digest:
        raise ArchiveError(
            f"{source.label}: manifest {digest}: its digest is {manifests.digest_of(data)}"
        )
    return data, media_type
