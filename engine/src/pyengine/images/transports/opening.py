"""Opens a place as a source or a destination."""

from __future__ import annotations

import os

from pyengine.errors import ArchiveError, ConfigError
from pyengine.images import references
from pyengine.images.transports import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.images.store import Images
    from pyengine.images.transports.base import Destination, Source
    from pyengine.images.transports.names import Place
    from pyengine.registry.settings import Access


class Settings:
    """What some transports need.

    Attributes:
        access: to registries.
        images: our own store; None where there is none, as for skopeo.
        additional_tags: further names in a docker-archive.
    """

    __slots__ = ("access", "additional_tags", "images")

    def __init__(
        self,
        *,
        access: Access | None = None,
        images: Images | None = None,
        additional_tags: list[str] | None = None,
    ) -> None:
        self.access = access
        self.images = images
        self.additional_tags = additional_tags or []


def open_source(place: Place, settings: Settings) -> Source:
    """Something to read an image from; close it.

    Raises:
        ArchiveError: or another error of the transport: there is no image.
    """
    label = str(place)
    if place.transport == "docker":
        return _open_remote_source(place, settings)
    if place.transport == "dir":
        from pyengine.images.transports.directory import DirectorySource

        return DirectorySource(place.path, label)
    if place.transport == "oci":
        from pyengine.images.transports import oci

        source = oci.open_source(files.Directory(place.path, label), place.name, label)
    elif place.transport == "containers-storage":
        from pyengine.images.transports.stored import StoredSource

        if settings.images is None:
            raise ConfigError(f"{label}: the store is not used here")
        image = settings.images.resolve(place.path)
        return StoredSource(settings.images, image, label)
    else:
        return _open_archive(place, label)
    source.scope = (place.transport, _policy_scope(place))
    return source


def open_destination(place: Place, settings: Settings) -> Destination:
    """Something to write an image to; commit or close it.

    Raises:
        ConfigError: the place cannot be written to.
    """
    label = str(place)
    if place.transport == "docker":
        from pyengine.images.transports.remote import RemoteDestination

        return RemoteDestination(references.pull_name(place.path), _access(settings))
    if place.transport == "dir":
        from pyengine.images.transports.directory import DirectoryDestination

        return DirectoryDestination(place.path, label)
    if place.transport in ("oci", "oci-archive"):
        from pyengine.images.transports import oci

        make = oci.OciDestination if place.transport == "oci" else oci.OciArchiveDestination
        return make(place.path, place.name, label)
    if place.transport == "docker-archive":
        from pyengine.images.transports.docker_archive import DockerArchiveDestination

        tags = [*([place.name] if place.name else []), *settings.additional_tags]
        full = [references.pull_name(tag).name for tag in tags]
        return DockerArchiveDestination(place.path, full, label)
    raise ConfigError(f"copy to {label}: use pull or load to fill the store")


def _open_remote_source(place: Place, settings: Settings) -> Source:
    from pyengine.images.transports.remote import RemoteSource

    return RemoteSource(references.pull_name(place.path), _access(settings))


def _access(settings: Settings) -> Access:
    from pyengine.registry.settings import Access

    return settings.access or Access()


def _open_archive(place: Place, label: str) -> Source:
    from pyengine.images.transports import docker_archive, oci, tarfiles

    try:
        source_fd = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ArchiveError(f"{label}: open {place.path}: {error.strerror}") from error
    try:
        directory = os.environ.get("TMPDIR") or "/var/tmp"
        archive_fd = tarfiles.open_archive(source_fd, label, directory)
    finally:
        os.close(source_fd)
    archive = tarfiles.OwnedArchive(archive_fd, label)
    try:
        open_it = (
            oci.open_source if place.transport == "oci-archive" else docker_archive.open_source
        )
        source: Source = open_it(archive, place.name, label)
    except BaseException:
        archive.close()
        raise
    source.scope = (place.transport, _policy_scope(place))
    return source


def _policy_scope(place: Place) -> str:
    """containers-policy.json(5): an absolute path, and for oci the name after a colon."""
    path = os.path.realpath(place.path)
    return f"{path}:{place.name}" if place.name and place.transport != "docker-archive" else path
