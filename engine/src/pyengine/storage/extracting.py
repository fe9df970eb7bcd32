"""Writes a tar's members into a directory that is in use: a volume, a container, the host's own.

It runs in the confined child of ``unpacking.py``, with that directory as its root. Unlike a
layer's, its members are ordinary files whatever they are called, and what they find is kept.
"""

from __future__ import annotations

import os
import stat

from pyengine.storage import trees, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile


class Extractor(unpack.Unpacker):
    """Writes members below the root directory."""

    owner: tuple[int, int] | None = None  # of everything, whatever the archive says
    overwrite = False  # whether a directory and something else may replace one another

    def _unpack_entry(self, parts: list[str], member: tarfile.TarInfo) -> None:
        if not parts:
            return  # the directory itself stays as it is
        self._enter(parts[:-1])
        self._make_room(parts[-1], for_directory=member.isdir())
        if member.isdir():
            self._make_directory(parts, member)
        else:
            self._make_other(parts[-1], member)

    def _make_room(self, name: str, *, for_directory: bool) -> None:
        try:
            found = os.lstat(name)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode) == for_directory:
            return
        if not self.overwrite:
            what = ("non-directory", "directory") if for_directory else ("directory", "file")
            raise unpack.UnpackError(f"cannot overwrite {what[0]} with {what[1]}: use --overwrite")
        if for_directory:
            os.unlink(name)
        else:
            trees.remove_tree(os.path.join(os.getcwd(), name))

    def _set_owner(self, name: str, member: tarfile.TarInfo) -> None:
        if self.owner is None:
            super()._set_owner(name, member)
        else:
            os.chown(name, *self.owner, follow_symlinks=False)


def main(
    user_namespace: bool, single_id: bool, owner: tuple[int, int] | None, overwrite: bool
) -> None:
    """Extract standard input into the working directory; see ``unpack.main``."""

    def work(stream: unpack.LayerStream) -> dict[str, object]:
        extractor = Extractor(stream, user_namespace=user_namespace, single_id=single_id)
        extractor.owner, extractor.overwrite = owner, overwrite
        return extractor.unpack()

    unpack.answer(work)
