"""``image sign``: simple signatures of images that are in a registry, kept beside it."""

from __future__ import annotations

from pyengine.images import manifests, references
from pyengine.images.trust import signatures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.registry.settings import Access


def sign(text: str, key: str, access: Access, *, directory: str | None, everything: bool) -> None:
    """Sign an image under its name.

    Args:
        text: its name in a registry.
        key: of gpg.
        access: to the registry.
        directory: where the signature goes; None for where registries.d says.
        everything: of a list, sign every image too.

    Raises:
        RegistryError: the image is not there.
        TrustError: gpg cannot sign.
        ConfigError: the place cannot be written to.
    """
    from pyengine.images.transports.remote import RemoteSource
    from pyengine.registry import lookaside

    reference = references.pull_name(text)
    source = RemoteSource(reference, access)
    data, media_type = source.manifest()
    digests = [manifests.digest_of(data)]
    if everything and manifests.is_index(data, media_type, source.label):
        digests += [entry.digest for entry in manifests.index_entries(data, source.label)]
    base = f"file://{directory}" if directory else None
    for digest in digests:
        made = signatures.sign(digest, str(reference), key)
        lookaside.add(reference.repository, digest, made, access.registries_d, base)
