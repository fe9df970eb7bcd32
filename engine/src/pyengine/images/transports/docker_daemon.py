"""``docker-daemon:``: an image in a docker daemon, read and written as a docker-archive."""

from __future__ import annotations

import os
import tempfile

from pyengine.errors import ConfigError
from pyengine.images import references
from pyengine.images.transports import docker_archive, tarfiles
from pyengine.images.transports.docker_archive import DockerArchiveDestination

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.images.transports.docker_archive import DockerArchiveSource
    from pyengine.registry.docker_daemon import Daemon


def open_source(daemon: Daemon, name: str, directory: str, label: str) -> DockerArchiveSource:
    """An image of the daemon, by name or by ``sha256:...`` of its config.

    Raises:
        RegistryError: the daemon does not answer, or has no such image.
        StorageError: the archive cannot be kept meanwhile.
    """
    wanted = name if name.startswith("sha256:") else references.pull_name(name).name
    fd = tarfiles.nameless_file(directory, label)
    try:
        with open(fd, "wb", closefd=False) as file:
            daemon.save(wanted, file)
    except BaseException:
        os.close(fd)
        raise
    archive = tarfiles.OwnedArchive(fd, label)
    try:
        source = docker_archive.open_source(archive, "", label)
    except BaseException:
        archive.close()
        raise
    source.scope = ("docker-daemon", wanted)
    if not name.startswith("sha256:"):
        source.reference = references.pull_name(name)
    return source


class DockerDaemonDestination(DockerArchiveDestination):
    """An image that the daemon loads once its archive is complete."""

    def __init__(
        self, daemon: Daemon, name: str, additional: list[str], directory: str, label: str
    ) -> None:
        if name.startswith("sha256:"):
            raise ConfigError(f"copy to {label}: an image gets a name, not an id")
        self._daemon = daemon
        self._scratch = tempfile.TemporaryDirectory(prefix="pyengine-docker-", dir=directory)
        names = [references.pull_name(one).name for one in (name, *additional)]
        super().__init__(f"{self._scratch.name}/archive", names, label)

    def commit(self) -> None:
        """Give the archive to the daemon."""
        super().commit()
        with open(f"{self._scratch.name}/archive", "rb") as file:
            self._daemon.load(file)

    def close(self) -> None:
        """Remove what was staged."""
        super().close()
        self._scratch.cleanup()
