"""Pushing images of the store."""

from __future__ import annotations

from pyengine.errors import ConfigError
from pyengine.images import copying, manifests, references
from pyengine.images.transports import names, opening
from pyengine.images.transports.names import Place
from pyengine.images.transports.stored import StoredSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyengine.images.copying import CopyOptions
    from pyengine.images.model import Image
    from pyengine.images.store import Images
    from pyengine.registry.settings import Access


def push(
    images: Images,
    text: str,
    place: str | None,
    options: CopyOptions,
    access: Access,
    report: Callable[[str], None],
) -> str:
    """Push an image; its manifest's digest at the destination.

    Args:
        images: the store.
        text: which.
        place: a transport and what it takes, or a name in a registry; None for its own name.
        options: how to copy.
        access: to the registry.
        report: takes podman's progress lines.

    Raises:
        NotFoundError: there is no such image.
        ConfigError: it has no name of a registry and no place was given.
        RegistryError: or StorageError: it cannot be written there.
    """
    image = images.resolve(text)
    target = destination_of(images, image, text, place)
    source = StoredSource(images, image, text)

    destination = opening.open_destination(target, opening.Settings(access=access))
    try:
        digest = manifests.digest_of(copying.copy(source, destination, options, report))
    finally:
        destination.close()
    images.events.tell("image", "push", id_=image.id, name=target.path)
    return digest


def target(images: Images, text: str, place: str | None) -> Place:
    """Where ``push`` with these words goes to."""
    return destination_of(images, images.resolve(text), text, place)


def destination_of(images: Images, image: Image, text: str, place: str | None) -> Place:
    """Where to; a docker-archive and an oci layout take the image's name where none is given."""
    if place is None:
        own = [name for name in image.names if images.is_name_of(text, name)] or image.names
        if not own or own[0].startswith(f"{references.LOCAL}/"):
            raise ConfigError(
                f"push {text}: no destination: its name says no registry; name one, such as "
                f"docker://registry.example.com/{text}"
            )
        return Place("docker", own[0])
    return named_place(place)


def named_place(text: str) -> Place:
    """A transport and what it takes, or a name in a registry."""
    if names.is_place(text):
        return names.parse(text)
    return Place("docker", references.pull_name(text).name)
