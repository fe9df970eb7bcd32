"""A volume's content as a tar, both ways (``volume export`` and ``volume import``)."""

from __future__ import annotations

import os

from pyengine.storage.packing import pack_tree
from pyengine.storage.unpacking import Extract, Unpacking
from pyengine.volumes import local
from pyengine.volumes.directories import lock_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.volumes.model import Volume
    from pyengine.volumes.service import Volumes

_CHUNK_BYTES = 1 << 20


class Visible:
    """A block in which a volume's directory shows its content; the value is its path."""

    def __init__(self, volumes: Volumes, volume: Volume) -> None:
        self._volumes, self._volume = volumes, volume
        self._user = f"content-{os.urandom(8).hex()}"

    def __enter__(self) -> str:
        """Mount it, where it needs that."""
        volumes, volume = self._volumes, self._volume
        with volumes.database.locks.hold(lock_name(volume.name)):
            return local.attach(volumes.database, volumes.root, volume, self._user, volumes.boot_id)

    def __exit__(self, *_error: object) -> None:
        """Unmount it, if nobody else uses it."""
        volumes, volume = self._volumes, self._volume
        if volume.is_mounted_for_use:
            with volumes.database.locks.hold(lock_name(volume.name)):
                local.detach(volumes.database, volumes.root, volume.name, self._user)


def export(volumes: Volumes, volume: Volume, output_fd: int) -> None:
    """Write everything in the volume to ``output_fd``.

    Raises:
        StorageError: something cannot be read.
    """
    with Visible(volumes, volume) as path, open(output_fd, "wb", closefd=False) as output:
        for chunk in pack_tree(path, f"export volume {volume.name}"):
            output.write(chunk)


def import_(volumes: Volumes, volume: Volume, input_fd: int) -> None:
    """Add what an archive holds, compressed or not, to the volume.

    Raises:
        ArchiveError: it is broken, or holds what is not allowed.
        StorageError: it cannot be written.
    """
    with Visible(volumes, volume) as path:
        unpacking = Unpacking(path, f"into volume {volume.name}", Extract(overwrite=True))
        unpacking.take(iter(lambda: os.read(input_fd, _CHUNK_BYTES), b""))
