"""Images' trees, shown read-only on the host (``image mount``)."""

from __future__ import annotations

import os

from pyengine.errors import NotFoundError, StorageError
from pyengine.storage import overlay, trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyengine.storage.store import Storage


_EMPTY = ("empty", "none")  # directories that lie below an image's layers, if it has any


class ImageMounts:
    """Directories ``mounts/ID`` below the root; whether one is mounted, the kernel knows.

    With the vfs driver an image of several layers is copied there, and the copy is what counts.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._directory = f"{storage.root}/mounts"

    def mount(self, image_id: str, diff_ids: Sequence[str]) -> str:
        """Show an image and return the path; mounted already is fine.

        Under the lock of removals, which ask whether the image is mounted.

        Raises:
            NotFoundError: the image was removed meanwhile.
            StorageError: the kernel refuses, or the copy does not fit.
        """
        path = f"{self._directory}/{image_id}"
        layers = [self._storage.layer_path(diff_id) for diff_id in diff_ids]
        try:
            os.makedirs(self._directory, exist_ok=True)
            if self._storage.driver != "overlay":
                self._copy(layers, path, image_id)
                return path
            with self._storage.database.locks.hold("storage"):
                if not self._is_wanted(image_id):
                    return path
                empty = [f"{self._directory}/{name}" for name in _EMPTY]
                for directory in (*empty, path):
                    os.makedirs(directory, exist_ok=True)
                # Without an upper directory the kernel wants two lower ones.
                overlay.mount(
                    [*empty, *layers], None, None, path, volatile=False,
                    program=self._storage.mount_program,
                )  # fmt: skip
        except OSError as error:
            raise StorageError(f"mount image {image_id[:12]}: {error.strerror}") from error
        return path

    def unmount(self, image_id: str) -> bool:
        """Take an image's tree away, busy or not; whether it was there.

        Raises:
            StorageError: the kernel refuses.
        """
        with self._storage.database.locks.hold("storage"):
            return self.unmount_locked(image_id)

    def unmount_locked(self, image_id: str) -> bool:
        """The same for who holds the lock ``storage``."""
        path = f"{self._directory}/{image_id}"
        was_mounted = self.is_mounted(image_id)
        overlay.unmount(path)
        try:
            trees.remove_tree(path)
        except OSError as error:
            raise StorageError(f"unmount image {image_id[:12]}: {error.strerror}") from error
        return was_mounted

    def is_mounted(self, image_id: str) -> bool:
        """Whether the tree is there."""
        path = f"{self._directory}/{image_id}"
        try:
            # A reboot leaves the empty directory of a mount.
            return os.path.ismount(path) or bool(os.listdir(path))
        except FileNotFoundError:
            return False

    def _is_wanted(self, image_id: str) -> bool:
        """Whether there is something to mount: nobody else did; ask under the lock."""
        with self._storage.database.read() as connection:
            row = connection.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone()
        if row is None:
            raise NotFoundError(f"{image_id}: image not known: it was removed meanwhile")
        return not self.is_mounted(image_id)

    def mounted(self) -> dict[str, str]:
        """The paths by image id."""
        if not os.path.isdir(self._directory):
            return {}
        names = sorted(set(os.listdir(self._directory)) - set(_EMPTY))
        return {name: f"{self._directory}/{name}" for name in names if self.is_mounted(name)}

    def _copy(self, layers: list[str], path: str, image_id: str) -> None:
        """Complete or not at all: an intent's staging directory goes with its intent."""
        if self.is_mounted(image_id):
            return
        storage = self._storage
        intents = storage.database.intents
        intent = intents.begin("image-files", image_id, {"paths": []})
        staged = f"{storage.staging_path(intent)}/tree"
        try:
            os.makedirs(staged)
            trees.stack_layers(layers, staged)
            with storage.database.locks.hold("storage"):
                if self._is_wanted(image_id):
                    os.rename(staged, path)
        finally:
            storage.empty_trash(intent)
            intent.finish()
