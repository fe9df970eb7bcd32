"""What a new volume gets from its first container: the image's content, owner and mode.

The copy is made beside the volume's directory and then moved in entry by entry, so that after a
kill the next command either takes it away or completes it, and never takes half a copy for whole.
"""

from __future__ import annotations

import errno
import os
import stat

from pyengine import syscalls
from pyengine.errors import StorageError
from pyengine.storage import trees
from pyengine.volumes import local
from pyengine.volumes.directories import lock_name, volume_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.database.connection import Database
    from pyengine.database.intents import Intent
    from pyengine.volumes.model import Volume

COPY_INTENT = "volume-copy-up"


class MountPoint:
    """Where a container wants a volume.

    Attributes:
        root_fd: the container's root directory.
        destination: below it.
        owner: user and group of the container's process, on the host.
        copies: whether the image's content may go into the volume.
    """

    __slots__ = ("copies", "destination", "owner", "root_fd")

    def __init__(
        self, root_fd: int, destination: str, owner: tuple[int, int], *, copies: bool
    ) -> None:
        self.root_fd, self.destination, self.owner = root_fd, destination, owner
        self.copies = copies

    def open(self) -> int | None:
        """The directory in the image, which is untrusted; None where there is none."""
        path = self.destination.lstrip("/") or "."
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return syscalls.openat2(self.root_fd, path, flags, resolve=syscalls.RESOLVE_CONFINED)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise


def prepare(database: Database, root: str, volume: Volume, place: MountPoint) -> None:
    """Fill the volume and give it its owner; its directory is there, its lock is the caller's.

    Raises:
        StorageError: something cannot be copied, such as on a full disk.
    """
    try:
        source_fd = place.open()
        try:
            _prepare(database, root, volume, place, source_fd)
        finally:
            if source_fd is not None:
                os.close(source_fd)
    except OSError as error:
        raise StorageError(
            f"copy the image's {place.destination} into volume {volume.name}: {error.strerror}"
        ) from error


def _prepare(
    database: Database, root: str, volume: Volume, place: MountPoint, source_fd: int | None
) -> None:
    path = volume_path(root, volume.name)
    copied = False
    wanted = volume.needs_copy_up and place.copies and local.copies_up(volume)
    if wanted and source_fd is not None and os.listdir(source_fd):
        copied = True
        if not os.listdir(path):
            _fill(database, root, volume, source_fd)
    if volume.needs_chown:
        owner, mode = place.owner, None
        if source_fd is not None:
            status = os.fstat(source_fd)
            owner, mode = (status.st_uid, status.st_gid), stat.S_IMODE(status.st_mode)
        _give(path, owner, mode)
    if copied or volume.needs_chown:
        with database.write() as connection:
            connection.execute(
                "UPDATE volumes SET needs_chown = 0, needs_copy_up = needs_copy_up AND NOT ?"
                " WHERE name = ?",
                (copied, volume.name),
            )


def _give(path: str, owner: tuple[int, int], mode: int | None) -> None:
    try:
        os.chown(path, *owner)
        if mode is not None:
            os.chmod(path, mode)
    except OSError as error:
        if error.errno != errno.EROFS:  # mounted read-only: it has the owner that it has
            raise


def _fill(database: Database, root: str, volume: Volume, source_fd: int) -> None:
    intent = database.intents.begin(COPY_INTENT, volume.name, {"complete": False})
    staged = f"{root}/volumes/{volume.name}/copy"
    os.mkdir(staged, 0o700)
    trees.stack_layers([f"/proc/self/fd/{source_fd}/."], staged)
    with database.write() as connection:
        intent.update({"complete": True}, connection)
        connection.execute("UPDATE volumes SET needs_copy_up = 0 WHERE name = ?", (volume.name,))
    _move_in(root, volume.name)
    intent.finish()


def _move_in(root: str, name: str) -> None:
    """Each entry that is not there yet; a volume that is mounted for use gets copies instead."""
    staged, path = f"{root}/volumes/{name}/copy", volume_path(root, name)
    if os.stat(staged).st_dev != os.stat(path).st_dev:
        trees.stack_layers([staged], path)
    else:
        for entry in os.listdir(staged):
            if not os.path.lexists(f"{path}/{entry}"):
                os.rename(f"{staged}/{entry}", f"{path}/{entry}")
    trees.remove_tree(staged)


def recover(database: Database, root: str, intent: Intent) -> None:
    """Take half a copy away, or complete a whole one; can be repeated."""
    with database.locks.hold(lock_name(intent.object)):
        staged = f"{root}/volumes/{intent.object}/copy"
        if intent.data["complete"] and os.path.isdir(staged):
            _move_in(root, intent.object)
        else:
            trees.remove_tree(staged)
