"""The confined child that unpacks one layer: a compressed tar on standard input, to overlay's form.

It runs as a program of its own, in its own namespaces, with the layer's directory as its root, so
nothing in an archive can reach outside, whatever this code overlooks. Inside, every name is
resolved component by component without following a symbolic link. The answer is one JSON object
on standard output.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import stat
import sys
import tarfile
import threading
import zlib

from pyengine import syscalls
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

MAX_MEMBERS = 1_000_000
MAX_LAYER_BYTES = 1 << 40
MAX_HEADER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_BLOCKS_AHEAD = 4

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
XATTR = "SCHILY.xattr."

# What every container has in /dev; another device in an image would open the host's hardware.
_HARMLESS_DEVICES = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnpackError(Exception):
    """The layer is broken or holds something that is not allowed."""


class LayerStream:
    """The uncompressed tar, hashed and counted while it is read; seeks forward only."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = memoryview(b"")
        self._position = 0
        self._hash = hashlib.sha256()
        self.size = 0
        self._ahead: queue.Queue[bytes | BaseException] | None = None
        self._ended = False
        self._blocks = uncompressed(_blocks_of(fd))

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; for headers, so a huge one is a trick."""
        if size > MAX_HEADER_BYTES:
            raise UnpackError(f"a member's header of {size} bytes is too long")
        parts = []
        while size > 0 and (piece := self.take(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)

    def take(self, limit: int) -> memoryview:
        """The next bytes, at most ``limit`` of them; empty at the end."""
        if not self._buffer:
            self._buffer = memoryview(self._take_block())
        piece = self._buffer[:limit]
        self._buffer = self._buffer[limit:]
        self._position += len(piece)
        return piece

    def tell(self) -> int:
        """The position in the uncompressed tar."""
        return self._position

    def seek(self, position: int) -> None:
        """Skip to a later position, or to the end if that comes first."""
        while self._position < position and self.take(position - self._position):
            pass

    def read_ahead(self) -> None:
        """Decompress and hash in a thread of its own from now on, beside whoever reads."""
        self._ahead = queue.Queue(_BLOCKS_AHEAD)
        threading.Thread(target=self._fill, args=(self._ahead,), daemon=True).start()

    def _fill(self, ahead: queue.Queue[bytes | BaseException]) -> None:
        try:
            while block := self._next_block():
                ahead.put(block)
            ahead.put(b"")
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads
            ahead.put(error)

    def _next_block(self) -> bytes:
        block = next(self._blocks, b"")
        self._hash.update(block)
        self.size += len(block)
        if self.size > MAX_LAYER_BYTES:
            raise UnpackError(f"it is larger than {MAX_LAYER_BYTES} bytes uncompressed")
        return block

    def _take_block(self) -> bytes:
        if self._ahead is None:
            return self._next_block()
        if self._ended:
            return b""
        block = self._ahead.get()
        if isinstance(block, BaseException):
            raise block
        self._ended = not block
        return block

    def digest(self) -> str:
        """Read the rest; the ``sha256:...`` of everything."""
        while self.take(_CHUNK_BYTES):
            pass
        return f"sha256:{self._hash.hexdigest()}"


def _blocks_of(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _CHUNK_BYTES):
        yield data


def uncompressed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """A layer's tar, whatever it is compressed with, in pieces of bounded size.

    The first block is read at once, and what takes the compression apart is imported. No piece is
    empty: a few bytes of a slow transfer may not yield any yet.

    Raises:
        UnpackError: later: it is damaged.
    """
    first = b""
    while len(first) < 4 and (block := next(blocks, b"")):
        first += block
    whole = _chained(first, blocks)
    if first.startswith(b"\x1f\x8b"):
        return filter(None, _gunzip(whole, fastest_zlib()))
    if first.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard  # now: later its files are out of reach

        return filter(None, _unzstd(zstandard, whole))
    if first.startswith(b"BZh"):
        import bz2

        return filter(None, _pressed_out(bz2.BZ2Decompressor, OSError, whole))
    if first.startswith(b"\xfd7zX"):
        import lzma

        return filter(None, _pressed_out(lzma.LZMADecompressor, lzma.LZMAError, whole))
    return filter(None, whole)


def _chained(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from blocks


def fastest_zlib() -> Any:
    """The module isal, twice as fast, with zlib's names, where it is installed (docs/adr/0029)."""
    try:
        from isal import isal_zlib
    except ImportError:  # there are processors it does not know
        return zlib
    return isal_zlib


def _gunzip(blocks: Iterator[bytes], library: Any) -> Iterator[bytes]:
    member = library.decompressobj(31)
    begun = False
    for block in blocks:
        data = block
        while data:
            begun = True
            try:
                piece = member.decompress(data, _CHUNK_BYTES)
            except library.error as error:
                raise UnpackError(f"its gzip data is damaged: {error}") from error
            yield piece
            data = member.unconsumed_tail
            if member.eof:
                data = member.unused_data.lstrip(b"\0")  # padding between or after members
                member = library.decompressobj(31)
                begun = False
    if begun:
        raise UnpackError("its gzip data ends too early")


def _pressed_out(
    make: Callable[[], Any], damage: type[Exception], blocks: Iterator[bytes]
) -> Iterator[bytes]:
    """Bzip2 and xz, in pieces of bounded size, one stream after the other."""
    stream, begun = make(), False
    for block in blocks:
        data = block
        while data or (begun and not stream.needs_input):
            begun = True
            try:
                piece = stream.decompress(data, _CHUNK_BYTES)
            except (OSError, damage) as error:
                raise UnpackError(f"its compressed data is damaged: {error}") from error
            yield piece
            data = b""
            if stream.eof:
                data = stream.unused_data.lstrip(b"\0")
                stream, begun = make(), False
    if begun:
        raise UnpackError("its compressed data ends too early")


class _Blocks:
    """Blocks as a file, for readers that want one."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def read(self, size: int) -> bytes:  # noqa: ARG002 - a shorter answer is always allowed
        return next(self._blocks, b"")


def _unzstd(library: Any, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """In pieces of bounded size: a few bytes of zstd may stand for gigabytes."""
    decompressor = library.ZstdDecompressor()
    reader = decompressor.stream_reader(_Blocks(blocks), read_across_frames=True)
    try:
        while data := reader.read(_CHUNK_BYTES):
            yield data
    except library.ZstdError as error:
        raise UnpackError(f"its zstd data is damaged: {error}") from error


class Unpacker:
    """Writes members below the root directory, which is the layer's own."""

    def __init__(
        self, stream: LayerStream, *, user_namespace: bool, single_id: bool = False
    ) -> None:
        self._stream = stream
        self._user_namespace = user_namespace
        self._single_id = single_id
        self._opaque = "user.overlay.opaque" if user_namespace else "trusted.overlay.opaque"
        self._root_fd = os.open("/", _DIRECTORY)
        self._current: list[str] | None = None  # the working directory, below the root
        self._directory_times: dict[tuple[str, ...], int] = {}
        self._skipped_attributes = 0

    def unpack(self) -> dict[str, object]:
        """Write all members; what was read, for the parent to verify."""
        members = 0
        try:
            for member in members_of(self._stream):
                members += 1
                if members > MAX_MEMBERS:
                    raise UnpackError(f"it has more than {MAX_MEMBERS} members")
                self._unpack_member(member)
        except tarfile.TarError as error:
            raise UnpackError(f"it is no tar archive: {error}") from error
        self._set_directory_times()
        return {
            "diff_id": self._stream.digest(),
            "size": self._stream.size,
            "members": members,
            "skipped_attributes": self._skipped_attributes,
        }

    def _unpack_member(self, member: tarfile.TarInfo) -> None:
        try:
            self._unpack_entry(member_parts(member.name), member)
        except UnpackError as error:
            raise UnpackError(f"member {member.name}: {error}") from error
        except ValueError as error:  # a null byte, a number out of range
            raise UnpackError(f"member {member.name!r}: {error}") from error
        except OSError as error:
            raise OSError(error.errno, f"member {member.name}: {error.strerror}") from error

    def _unpack_entry(self, parts: list[str], member: tarfile.TarInfo) -> None:
        if not parts:
            self._update_root(member)
            return
        self._enter(parts[:-1])
        name = parts[-1]
        if name.startswith(WHITEOUT):
            self._whiteout(name)
        elif member.isdir():
            self._make_directory(parts, member)
        else:
            self._make_other(name, member)

    def _update_root(self, member: tarfile.TarInfo) -> None:
        if not member.isdir():
            raise UnpackError("the root must be a directory")
        os.fchdir(self._root_fd)
        self._current = []
        self._set_metadata(".", member)
        self._directory_times[()] = _mtime_ns(member)

    def _make_directory(self, parts: list[str], member: tarfile.TarInfo) -> None:
        name = parts[-1]
        try:
            os.mkdir(name)
        except FileExistsError:
            found = os.lstat(name)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name)
                os.mkdir(name)
                if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                    os.setxattr(name, self._opaque, b"y")  # it also hid what lies below
        self._set_metadata(name, member)
        self._directory_times[tuple(parts)] = _mtime_ns(member)

    def _make_other(self, name: str, member: tarfile.TarInfo) -> None:
        make = self._maker(member)
        if make is None:
            return
        try:
            make(name, member)
        except FileExistsError:
            trees.remove_tree(name)  # a directory too, with all that earlier members put into it
            make(name, member)
        if not member.islnk():
            self._set_metadata(name, member)
            os.utime(name, ns=(_mtime_ns(member),) * 2, follow_symlinks=False)

    def _maker(self, member: tarfile.TarInfo) -> Callable[[str, tarfile.TarInfo], None] | None:
        if member.isreg():
            return self._make_file
        if member.issym():
            return _make_symbolic_link
        if member.islnk():
            return self._make_hard_link
        if member.isfifo():
            return _make_fifo
        if member.ischr() or member.isblk():
            device = (member.devmajor, member.devminor)
            if member.isblk() or device not in _HARMLESS_DEVICES:
                kind = "block" if member.isblk() else "character"
                raise UnpackError(f"{kind} device {device[0]}:{device[1]} is not allowed")
            # An ordinary user cannot make devices; containers get theirs from the runtime.
            return None if self._user_namespace else _make_device
        raise UnpackError(f"its type {member.type!r} is unknown")

    def _make_file(self, name: str, member: tarfile.TarInfo) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if member.issparse():
                pieces: list[tuple[int, int]] = member.sparse  # type: ignore[assignment]  # as it is
                for offset, size in pieces:
                    os.lseek(fd, offset, os.SEEK_SET)
                    self._copy(fd, size)
                os.ftruncate(fd, member.size)
            else:
                self._copy(fd, member.size)
        finally:
            os.close(fd)

    def _copy(self, fd: int, size: int) -> None:
        while size > 0:
            piece = self._stream.take(size)
            if not piece:
                raise UnpackError("the archive ends inside it")
            size -= len(piece)
            while piece:
                piece = piece[os.write(fd, piece) :]

    def _make_hard_link(self, name: str, member: tarfile.TarInfo) -> None:
        target = member_parts(member.linkname)
        if not target:
            raise UnpackError("a hard link to the root directory")
        try:
            directory_fd = self._open_directory(target[:-1], make=False)
            try:
                os.link(target[-1], name, src_dir_fd=directory_fd, follow_symlinks=False)
            finally:
                os.close(directory_fd)
        except FileNotFoundError as error:
            raise UnpackError(f"hard link to {member.linkname}, which is not there") from error

    def _whiteout(self, name: str) -> None:
        """Overlay marks a removed entry with a 0:0 device and a replaced directory as opaque."""
        if name == OPAQUE:
            os.setxattr(".", self._opaque, b"y")
        elif not name.startswith(WHITEOUT * 2):  # aufs kept its own records under such names
            hidden = name.removeprefix(WHITEOUT)
            if hidden in ("", ".", ".."):
                raise UnpackError("a whiteout of no entry")
            try:
                os.mknod(hidden, stat.S_IFCHR, 0)
            except FileExistsError:
                return  # the layer has its own entry, which hides the lower one

    def _set_metadata(self, name: str, member: tarfile.TarInfo) -> None:
        self._set_owner(name, member)
        if not member.issym():
            os.chmod(name, member.mode & 0o7777)
        for key, value in member.pax_headers.items():
            if key.startswith(XATTR):
                self._set_attribute(name, key.removeprefix(XATTR), value)

    def _set_owner(self, name: str, member: tarfile.TarInfo) -> None:
        if self._single_id:
            return
        try:
            os.chown(name, member.uid, member.gid, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EINVAL and self._user_namespace:
                raise UnpackError(
                    f"its owner {member.uid}:{member.gid} is not mapped in this user namespace: "
                    "give the user more ids in /etc/subuid and /etc/subgid"
                ) from error
            raise

    def _set_attribute(self, name: str, attribute: str, value: str) -> None:
        if attribute.startswith(("trusted.", "user.overlay.")):
            raise UnpackError(f"extended attribute {attribute} is not allowed")
        data = value.encode("utf-8", "surrogateescape")
        try:
            os.setxattr(name, attribute, data, follow_symlinks=False)
        except OSError as error:
            needed = attribute == "security.capability"  # programs misbehave without it
            if needed or error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
            self._skipped_attributes += 1

    def _enter(self, parts: list[str]) -> None:
        """Make the directory ``parts`` the working directory, with missing ones made."""
        if parts == self._current:
            return
        fd = self._open_directory(parts, make=True)
        os.fchdir(fd)
        os.close(fd)
        self._current = parts

    def _open_directory(self, parts: list[str], *, make: bool) -> int:
        try:
            path = "/".join(parts) or "."
            return syscalls.openat2(
                self._root_fd, path, _DIRECTORY, resolve=syscalls.RESOLVE_STRICTLY_BELOW
            )
        except (OSError, ValueError):  # missing, too long, a link or an old kernel: step by step
            return self._step_down(parts, make=make)

    def _step_down(self, parts: list[str], *, make: bool) -> int:
        fd = os.dup(self._root_fd)
        for depth, part in enumerate(parts, 1):
            try:
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    if not make:
                        raise
                    os.mkdir(part, 0o755, dir_fd=fd)
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    path = "/".join(parts[:depth])
                    raise UnpackError(f"{path} on its way is no directory") from error
                raise
            finally:
                os.close(fd)
            fd = below
        return fd

    def _set_directory_times(self) -> None:
        """Last, because every entry made in a directory changes its time."""
        for parts, mtime_ns in self._directory_times.items():
            try:
                fd = self._open_directory(list(parts), make=False)
            except (OSError, UnpackError):
                continue  # a later member took its place
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            os.close(fd)


def members_of(stream: LayerStream) -> Iterator[tarfile.TarInfo]:
    """The members of a layer's tar, one at a time; no bytes at all are a layer without any.

    Raises:
        tarfile.TarError: it is none.
    """
    try:
        archive = tarfile.TarFile(
            fileobj=stream,  # type: ignore[arg-type]  # all that tarfile calls
            encoding="utf-8",
            errors="surrogateescape",
        )
    except tarfile.ReadError:
        if stream.size:
            raise
        return
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
        yield member


def member_parts(name: str) -> list[str]:
    """A member's path from the layer's root; a leading slash means that root, as for podman."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnpackError(f"the path {name} leads out of the layer")
    return parts


def _make_symbolic_link(name: str, member: tarfile.TarInfo) -> None:
    os.symlink(member.linkname, name)


def _make_fifo(name: str, member: tarfile.TarInfo) -> None:
    os.mkfifo(name, member.mode & 0o7777)


def _make_device(name: str, member: tarfile.TarInfo) -> None:
    os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(member.devmajor, member.devminor))


def _mtime_ns(member: tarfile.TarInfo) -> int:
    exact = member.pax_headers.get("mtime")
    if exact is None:
        return int(member.mtime) * 1_000_000_000
    whole, _, fraction = exact.partition(".")
    seconds = int(whole) if whole not in ("", "-") else 0
    nanoseconds = int((fraction + "000000000")[:9]) if fraction.isdigit() else 0
    return seconds * 1_000_000_000 + (-nanoseconds if whole.startswith("-") else nanoseconds)


def _confine() -> None:
    """The working directory becomes the root; nothing else of the machine stays in reach."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC)
    os.chroot(".")
    os.chdir("/")
    os.umask(0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def main(user_namespace: bool, single_id: bool) -> None:
    """Unpack standard input into the working directory.

    Args:
        user_namespace: this is one, with fewer rights.
        single_id: it has one user, who gets every file.
    """

    def work(stream: LayerStream) -> dict[str, object]:
        return Unpacker(stream, user_namespace=user_namespace, single_id=single_id).unpack()

    answer(work)


def answer(work: Callable[[LayerStream], dict[str, object]]) -> None:
    """Do ``work`` in the confined process and tell the parent how it went. Does not return."""
    told: dict[str, object]
    try:
        stream = LayerStream(0)  # imports its decompressor, which the new root has not
        _preload()
        _confine()
        stream.read_ahead()
        told = work(stream)
    except UnpackError as error:
        told = {"broken": str(error)}
    except OSError as error:
        told = {"failed": error.strerror or str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a hostile archive makes of our libraries
        told = {"broken": f"{type(error).__name__}: {error}"}
    os.write(1, json.dumps(told).encode())
    sys.stdout.flush()
    os._exit(0)


def _preload() -> None:
    """Import what is otherwise imported at first use, when the files are out of reach."""
    import encodings.idna
    import encodings.utf_8  # noqa: F401 - wanted loaded, not named
