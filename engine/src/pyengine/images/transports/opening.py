"""Opens a place as a source or a destination."""

from __future__ import annotations

import os

from pyengine.errors import ArchiveError, ConfigError
from pyengine.images import references
from pyengine.images.transports import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyengine.images.store import Images
    from pyengine.images.transports.base import Destination, Source
    from pyengine.images.transports.names import Place
    from pyengine.registry.docker_daemon import Daemon
    from pyengine.registry.settings import Access


class Settings:
    """What some transports need.

    Attributes:
        access: to registries.
        images: our own store; None where only ``stores`` is known.
        additional_tags: further names in a docker-archive.
        stores: gives the store at a root, or the usual one for an empty text.
        daemon_host: of docker; None for the usual one.
        shared_blobs: a directory in which several OCI layouts keep their blobs.
        precompute: learn a layer's digest before it is sent, because the registry may have it.
        scratch: where archives are kept meanwhile; None for ``TMPDIR``.
    """

    __slots__ = (
        "access", "additional_tags", "daemon_host", "images", "precompute", "scratch",
        "shared_blobs", "stores",
    )  # fmt: skip

    def __init__(
        self,
        *,
        access: Access | None = None,
        images: Images | None = None,
        additional_tags: list[str] | None = None,
        stores: Callable[[str], Images] | None = None,
        daemon_host: str | None = None,
        shared_blobs: str | None = None,
        precompute: bool = False,
        scratch: str | None = None,
    ) -> None:
        self.access = access
        self.images = images
        self.additional_tags = additional_tags or []
        self.stores = stores
        self.daemon_host = daemon_host
        self.shared_blobs = shared_blobs
        self.precompute = precompute
        self.scratch = scratch

    @property
    def scratch_directory(self) -> str:
        """Where large temporary files go."""
        return self.scratch or os.environ.get("TMPDIR") or "/var/tmp"

    def store_of(self, place: Place) -> Images:
        """The store that a ``containers-storage:`` place names.

        Raises:
            ConfigError: another root cannot be named here.
        """
        if self.stores is not None:
            return self.stores(place.store)
        if self.images is None or place.store:
            raise ConfigError(f"{place}: no other storage root can be named here; use --root")
        return self.images


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

        layout = files.Directory(place.path, label, settings.shared_blobs)
        source = oci.open_source(layout, place.name, label)
    elif place.transport == "containers-storage":
        return _open_stored_source(place, settings, label)
    elif place.transport == "docker-daemon":
        from pyengine.images.transports import docker_daemon

        daemon = _daemon(settings)
        return docker_daemon.open_source(daemon, place.path, settings.scratch_directory, label)
    else:
        return _open_archive(place, settings, label)
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

        return RemoteDestination(
            references.pull_name(place.path),
            _access(settings),
            spool=settings.scratch_directory if settings.precompute else None,
        )
    if place.transport == "dir":
        from pyengine.images.transports.directory import DirectoryDestination

        return DirectoryDestination(place.path, label)
    if place.transport in ("oci", "oci-archive"):
        from pyengine.images.transports import oci

        if place.transport == "oci":
            return oci.OciDestination(place.path, place.name, label, settings.shared_blobs)
        return oci.OciArchiveDestination(place.path, place.name, label)
    if place.transport == "docker-archive":
        from pyengine.images.transports.docker_archive import DockerArchiveDestination

        tags = [*([place.name] if place.name else []), *settings.additional_tags]
        full = [references.pull_name(tag).name for tag in tags]
        return DockerArchiveDestination(place.path, full, label)
    if place.transport == "docker-daemon":
        from pyengine.images.transports.docker_daemon import DockerDaemonDestination

        return DockerDaemonDestination(
            _daemon(settings), place.path, settings.additional_tags, settings.scratch_directory,
            label,
        )  # fmt: skip
    raise ConfigError(f"copy to {label}: use pull or load to fill the store")


def _open_stored_source(place: Place, settings: Settings, label: str) -> Source:
    from pyengine.images.transports.stored import StoredSource

    images = settings.store_of(place)
    source = StoredSource(images, images.resolve(place.path), label)
    named = [name for name in source.names if images.is_name_of(place.path, name)]
    if named:
        source.reference = references.parse(named[0])
    return source


def _daemon(settings: Settings) -> Daemon:
    from pyengine.registry.docker_daemon import Daemon

    return Daemon(settings.daemon_host, _access(settings).cert_dir)


def _open_remote_source(place: Place, settings: Settings) -> Source:
    from pyengine.images.transports.remote import RemoteSource

    return RemoteSource(references.pull_name(place.path), _access(settings))


def _access(settings: Settings) -> Access:
    from pyengine.registry.settings import Access

    return settings.access or Access()


def _open_archive(place: Place, settings: Settings, label: str) -> Source:
    from pyengine.images.transports import docker_archive, oci, tarfiles

    try:
        source_fd = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ArchiveError(f"{label}: open {place.path}: {error.strerror}") from error
    try:
        archive_fd = tarfiles.open_archive(source_fd, label, settings.scratch_directory)
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
