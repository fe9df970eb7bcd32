"""A directory tree as a tar, deterministically: the same tree gives the same bytes.

Entries come sorted by name, a directory before what is in it; owners are numbers only, access and
change times are left out. A file with several names is stored under the first of them, the others
are hard links to it. Holes are written as zeros, because where they are depends on the file system.
"""

from __future__ import annotations

import os
import stat
import tarfile

from pyengine.errors import StorageError
from pyengine.storage.idmapped import CAPABILITY, capability_inside, to_inside
from pyengine.storage.layer_stream import OPAQUE as OPAQUE_MEMBER
from pyengine.storage.layer_stream import WHITEOUT, XATTR
from pyengine.storage.trees import OPAQUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyengine.storage.overlay import IdMaps

_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 512
_RECORD_BYTES = 20 * _BLOCK_BYTES
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# What describes the file rather than this machine's security policy.
_ATTRIBUTES = (CAPABILITY, "security.ima")


def pack_tree(
    path: str,
    label: str,
    *,
    skip: frozenset[str] = frozenset(),
    id_maps: IdMaps | None = None,
) -> Iterator[bytes]:
    """The tar of everything below ``path``, which may change meanwhile but leads nowhere else.

    Args:
        path: a layer or an upper directory in overlay's form, whose whiteouts and opaque
            directories become those of an OCI layer, or a merged tree, which has none.
        label: begins the messages, such as ``commit web``.
        skip: paths below it, without a leading slash, that are left out with what they hold.
        id_maps: of the container whose tree it is; the tar has its ids.

    Raises:
        StorageError: something cannot be read.
    """
    try:
        root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        yield from _Packer(root_fd, skip, id_maps=id_maps).tree()
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        raise StorageError(f"{label}: pack {path}: {where}{error.strerror}") from error


def pack_entry(
    parent_fd: int, entry: str, member: str, label: str, id_maps: IdMaps | None = None
) -> Iterator[bytes]:
    """The tar of one entry of a directory with what is below it, called ``member`` in the tar.

    With ``id_maps`` owners are those that a container with these sees.

    Raises:
        StorageError: something cannot be read.
    """
    try:
        status = os.stat(entry, dir_fd=parent_fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            top_fd = os.open(entry, _DIRECTORY, dir_fd=parent_fd)
            yield from _Packer(top_fd, frozenset(), member, id_maps).tree()
        else:
            packer = _Packer(os.dup(parent_fd), frozenset(), id_maps=id_maps)
            yield from packer.single(entry, member, status)
    except OSError as error:
        raise StorageError(f"{label}: pack {entry}: {error.strerror}") from error


def pack_paths(
    path: str, entries: Sequence[str], label: str, id_maps: IdMaps | None = None
) -> Iterator[bytes]:
    """The tar of ``path`` and of some paths below it, directories without what is in them.

    Raises:
        StorageError: something cannot be read.
    """
    try:
        root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        yield from _Packer(root_fd, frozenset(), id_maps=id_maps).some(entries)
    except OSError as error:
        raise StorageError(f"{label}: pack {path}: {error.strerror}") from error


class _Packer:
    """One tree; directories are opened from the top each time, so depth needs no descriptors."""

    def __init__(
        self,
        root_fd: int,
        skip: frozenset[str],
        member: str = "",
        id_maps: IdMaps | None = None,
    ) -> None:
        """``root_fd`` becomes ours; ``member`` is what the root is called, if it is one."""
        self._root_fd = root_fd
        self._member = member
        self._skip = skip
        self._names: dict[tuple[int, int], str] = {}  # of files with several, by inode
        self._written = 0
        self._id_maps = id_maps

    def single(self, entry: str, member: str, status: os.stat_result) -> Iterator[bytes]:
        """One entry of the root that is no directory."""
        try:
            for chunk in self._entry(self._root_fd, entry, member, status):
                self._written += len(chunk)
                yield chunk
        finally:
            os.close(self._root_fd)
        yield self._end()

    def some(self, paths: Sequence[str]) -> Iterator[bytes]:
        """The root's own entry, and these paths below it."""
        try:
            first = self._header(
                "/", os.fstat(self._root_fd), tarfile.DIRTYPE, {}
            )  # podman skips "./"
            self._written = len(first)
            yield first
            for path in paths:
                for chunk in self._one(path):
                    self._written += len(chunk)
                    yield chunk
        finally:
            os.close(self._root_fd)
        yield self._end()

    def _one(self, path: str) -> Iterator[bytes]:
        *parts, entry = path.split("/")
        try:
            fd = open_below(self._root_fd, parts)
        except FileNotFoundError:
            return  # removed meanwhile
        try:
            status = os.stat(entry, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                yield from self._entry(fd, entry, path, status)
                return
            inner_fd = os.open(entry, _DIRECTORY, dir_fd=fd)
            try:
                yield self._header(f"{path}/", status, tarfile.DIRTYPE, _attributes(inner_fd))
            finally:
                os.close(inner_fd)
        except FileNotFoundError:
            return
        finally:
            os.close(fd)

    def tree(self) -> Iterator[bytes]:
        """Everything below the root."""
        try:
            waiting: list[list[str]] = [[]]
            while waiting:
                parts = waiting.pop()
                for chunk in self._directory(parts, waiting):
                    self._written += len(chunk)
                    yield chunk
        finally:
            os.close(self._root_fd)
        yield self._end()

    def _end(self) -> bytes:
        end = 2 * _BLOCK_BYTES
        return bytes(end + -(self._written + end) % _RECORD_BYTES)

    def _directory(self, parts: list[str], waiting: list[list[str]]) -> Iterator[bytes]:
        """The directory's own header and its entries; its directories wait for their turn."""
        try:
            fd = open_below(self._root_fd, parts)
        except FileNotFoundError:
            return  # removed meanwhile
        try:
            status = os.fstat(fd)
            name = "/".join([self._member, *parts] if self._member else parts)
            if name:
                yield self._header(f"{name}/", status, tarfile.DIRTYPE, _attributes(fd))
                if _is_opaque(fd):
                    yield _mark(f"{name}/{OPAQUE_MEMBER}")
            below = []
            for entry in sorted(os.listdir(fd), key=os.fsencode):
                path = f"{name}/{entry}" if name else entry
                if path in self._skip:
                    continue
                try:
                    found = os.stat(entry, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    below.append([*parts, entry])
                else:
                    yield from self._entry(fd, entry, path, found)
            waiting += reversed(below)
        finally:
            os.close(fd)

    def _entry(
        self, directory_fd: int, entry: str, path: str, status: os.stat_result
    ) -> Iterator[bytes]:
        mode = status.st_mode
        if stat.S_ISSOCK(mode):
            return  # tar has none, and it dies with its server
        if stat.S_ISCHR(mode) and status.st_rdev == 0:
            yield _mark(os.path.join(os.path.dirname(path), WHITEOUT + entry))
            return
        inode = (status.st_dev, status.st_ino)
        if inode in self._names:
            yield self._header(path, status, tarfile.LNKTYPE, {}, self._names[inode])
            return
        attributes = _attributes(f"/proc/self/fd/{directory_fd}/{entry}")
        if stat.S_ISREG(mode):
            yield from self._file(directory_fd, entry, path, attributes)
        elif stat.S_ISLNK(mode):
            target = os.readlink(entry, dir_fd=directory_fd)
            yield self._header(path, status, tarfile.SYMTYPE, attributes, target)
        else:
            kinds = {stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE,
                     stat.S_IFBLK: tarfile.BLKTYPE}  # fmt: skip
            yield self._header(path, status, kinds[stat.S_IFMT(mode)], attributes)
        if status.st_nlink > 1:
            self._names[inode] = path

    def _file(
        self, directory_fd: int, entry: str, path: str, attributes: dict[str, bytes]
    ) -> Iterator[bytes]:
        """As many bytes as its header says, although it may grow or shrink meanwhile."""
        fd = os.open(entry, _FILE, dir_fd=directory_fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return  # exchanged since it was looked at
            # A file of procfs says that it is empty.
            data = os.read(fd, _CHUNK_BYTES) if status.st_size == 0 else b""
            size = status.st_size or len(data)
            yield self._header(path, status, tarfile.REGTYPE, attributes, size=size)
            yield data
            left = size - len(data)
            while left:
                chunk = os.read(fd, min(left, _CHUNK_BYTES)) or bytes(min(left, _CHUNK_BYTES))
                left -= len(chunk)
                yield chunk
            yield bytes(-size % _BLOCK_BYTES)
        finally:
            os.close(fd)

    def _header(
        self,
        name: str,
        status: os.stat_result,
        kind: bytes,
        attributes: dict[str, bytes],
        target: str = "",
        size: int = 0,
    ) -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        info.mode, info.uid, info.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
        if self._id_maps is not None:
            info.uid = to_inside(self._id_maps[0], status.st_uid)
            info.gid = to_inside(self._id_maps[1], status.st_gid)
            if CAPABILITY in attributes:
                data = capability_inside(attributes[CAPABILITY], self._id_maps[0])
                attributes = {**attributes, CAPABILITY: data}
        seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
        info.mtime = seconds
        info.pax_headers = {
            f"{XATTR}{key}": value.decode("utf-8", "surrogateescape")
            for key, value in sorted(attributes.items())
        }
        if nanoseconds and seconds >= 0:
            info.pax_headers["mtime"] = f"{seconds}.{nanoseconds:09}".rstrip("0")
        info.size = size
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def open_below(root_fd: int, parts: list[str]) -> int:
    """A descriptor of the directory ``parts`` below ``root_fd``, through no symbolic link.

    Raises:
        OSError: there is none.
    """
    fd = os.dup(root_fd)
    for part in parts:
        try:
            below = os.open(part, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _mark(name: str) -> bytes:
    """An empty file that stands for something else (image-spec layer.md, "Whiteouts")."""
    info = tarfile.TarInfo(name)
    info.mode = 0
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _attributes(file: int | str) -> dict[str, bytes]:
    """What a layer keeps of extended attributes."""
    found = {}
    follow = isinstance(file, int)
    for name in os.listxattr(file, follow_symlinks=follow):
        ours = name.startswith("user.overlay.")
        if name in _ATTRIBUTES or (name.startswith("user.") and not ours):
            found[name] = os.getxattr(file, name, follow_symlinks=follow)
    return found


def _is_opaque(fd: int) -> bool:
    names = os.listxattr(fd)
    return any(name in names and os.getxattr(fd, name) == b"y" for name in OPAQUE)
