"""Pulling an image from a registry."""

from __future__ import annotations

from pyengine.errors import RegistryError
from pyengine.images import manifests, references
from pyengine.images.adding import NewImage, add_image, sha256
from pyengine.images.manifests import Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyengine.images.references import Reference
    from pyengine.images.store import Images
    from pyengine.registry.client import Registry
    from pyengine.storage.addition import LayerSource


class PullOptions:
    """How to pull; what is None is decided from the machine and the configuration.

    Attributes:
        platform: ``os/architecture[/variant]``.
        tls_verify: whether the registry must prove who it is.
        credentials: user and password.
        auth_file: where to look for credentials instead of the usual places.
    """

    __slots__ = ("auth_file", "credentials", "platform", "tls_verify")

    def __init__(
        self,
        *,
        platform: str | None = None,
        tls_verify: bool | None = None,
        credentials: tuple[str, str] | None = None,
        auth_file: str | None = None,
    ) -> None:
        self.platform = platform
        self.tls_verify = tls_verify
        self.credentials = credentials
        self.auth_file = auth_file


def pull(images: Images, text: str, options: PullOptions, report: Callable[[str], None]) -> str:
    """Pull an image and give it its full name; layers that are here already are not fetched.

    Args:
        images: the store.
        text: a name; a short one is looked for on Docker Hub.
        options: how.
        report: takes podman's progress lines.

    Returns:
        The image's id.

    Raises:
        ConfigError: ``text`` is no name.
        RegistryError: the registry does not answer, or refuses.
        ArchiveError: what came is broken.
        StorageError: it cannot be written.
    """
    from pyengine.registry import client, credentials

    reference = references.pull_name(text)
    found = options.credentials or credentials.find(reference.repository, options.auth_file)
    registry = client.Registry(reference.registry, tls_verify=options.tls_verify, credentials=found)
    report(f"Trying to pull {reference}...")
    try:
        new = _read(registry, reference, options.platform or manifests.host_platform())
    except RegistryError as error:
        raise RegistryError(
            f"initializing source docker://{reference}: {error}", transient=error.transient
        ) from error
    report("Getting image source signatures")

    def fetch(layer: LayerSource) -> Iterator[bytes]:
        return registry.blob(reference.path, layer.digest, layer.size)

    return add_image(images, new, fetch, report)


def _read(registry: Registry, reference: Reference, platform: str) -> NewImage:
    wanted = reference.digest or reference.tag or "latest"
    where = f"manifest {wanted} of {reference.repository}"
    data, media_type = registry.manifest(reference.path, wanted)
    digests = [sha256(data)]
    if manifests.is_index(data, media_type, where):
        entries = manifests.index_entries(data, where)
        chosen = manifests.choose_platform(entries, platform, where)
        data, media_type = registry.manifest(reference.path, chosen.digest)
        digests.append(chosen.digest)
        where = f"manifest {chosen.digest} of {reference.repository}"
    manifest = Manifest(data, media_type, where)
    config = registry.small_blob(reference.path, manifest.config.digest)
    return NewImage(
        manifest,
        config,
        [] if reference.digest else [reference.name],
        repository=reference.repository,
        repo_digests=tuple(digests),
        resumable=True,
    )
