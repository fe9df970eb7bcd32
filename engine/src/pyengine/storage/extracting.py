"""Writes a tar's members into a directory that is in use: a volume, a container, the host's own.

It runs in the confined child of ``unpacking.py``, with that directory as its root. Unlike a
layer's, its members are ordinary files whatever they are called, and what they find is kept.
"""

from __future__ import annotations

import os
import stat

from pyengine import syscalls
from pyengine.errors import StorageError
from pyengine.storage import idmapped, trees, unpack
from pyengine.storage.layer_stream import LayerStream, UnpackError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile

    from pyengine.storage.overlay import IdMaps


class Extractor(unpack.Unpacker):
    """Writes members below the root directory."""

    owner: tuple[int, int] | None = None  # of everything, whatever the archive says
    overwrite = False  # whether a directory and something else may replace one another
    id_maps: IdMaps | None = None  # of the container whose ids the archive and ``owner`` have

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
            raise UnpackError(f"cannot overwrite {what[0]} with {what[1]}: use --overwrite")
        if for_directory:
            os.unlink(name)
        else:
            trees.remove_tree(os.path.join(os.getcwd(), name))

    def _set_owner(self, name: str, member: tarfile.TarInfo) -> None:
        if self.owner is None and self.id_maps is None:
            super()._set_owner(name, member)
            return
        uid, gid = self.owner or (member.uid, member.gid)
        if self.id_maps is not None:
            try:
                uid = idmapped.to_host(self.id_maps[0], uid)
                gid = idmapped.to_host(self.id_maps[1], gid)
            except StorageError as error:
                raise UnpackError(str(error)) from error
        os.chown(name, uid, gid, follow_symlinks=False)

    def _set_attribute(self, name: str, attribute: str, value: str) -> None:
        if attribute == idmapped.CAPABILITY and self.id_maps is not None:
            data = value.encode("utf-8", "surrogateescape")
            data = idmapped.capability_on_host(data, self.id_maps[0])
            value = data.decode("utf-8", "surrogateescape")
        super()._set_attribute(name, attribute, value)


def main(
    user_namespace: bool,
    single_id: bool,
    owner: tuple[int, int] | None,
    overwrite: bool,
    id_maps: IdMaps | None,
) -> None:
    """Extract standard input into the working directory; see ``unpack.main``."""

    def work(stream: LayerStream) -> dict[str, object]:
        extractor = Extractor(stream, user_namespace=user_namespace, single_id=single_id)
        extractor.owner, extractor.overwrite, extractor.id_maps = owner, overwrite, id_maps
        if id_maps is not None:
            _become_root_of(id_maps)
        return extractor.unpack()

    unpack.answer(work)


def _become_root_of(id_maps: IdMaps) -> None:
    """Make files as the container's root: what is mounted there with mapped ids has no other.

    All capabilities stay.
    """
    syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBIT_NO_SETUID_FIXUP)
    syscalls.setfsgid(idmapped.to_host(id_maps[1], 0))
    syscalls.setfsuid(idmapped.to_host(id_maps[0], 0))
