"""Reading archives: members of a tar by name; a seekable copy of what is compressed or piped."""

from __future__ import annotations

import io
import os
import tarfile

from pyengine.errors import ArchiveError, StorageError
from pyengine.images import manifests
from pyengine.images.transports import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_CHUNK_BYTES = 1 << 20
_MAX_MEMBERS = 100_000
_MAX_LINKS = 8


class Archive:
    """The members of a seekable, uncompressed tar by name; their names never become paths."""

    def __init__(self, fd: int, label: str) -> None:
        """Read the table of members.

        Args:
            fd: stays the caller's.
            label: begins the messages, such as ``load file.tar``.

        Raises:
            ArchiveError: it is no tar archive, or cut short.
        """
        self.label = label
        self._fd = fd
        self._members: dict[str, tarfile.TarInfo] = {}
        end = os.fstat(fd).st_size
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            with (
                open(os.dup(fd), "rb", buffering=0) as file,
                tarfile.TarFile(fileobj=file, errors="surrogateescape") as archive,
            ):
                for number, member in enumerate(archive):
                    if number >= _MAX_MEMBERS:
                        raise ArchiveError(f"{label}: more than {_MAX_MEMBERS} members")
                    if member.isreg() and member.offset_data + member.size > end:
                        raise ArchiveError(f"{label}: it ends inside of {member.name}")
                    self._members[os.path.normpath(member.name)] = member
        except (tarfile.TarError, EOFError) as error:
            raise ArchiveError(f"{label}: not a tar archive: {error}") from error
        except OSError as error:
            raise ArchiveError(f"{label}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is open: the descriptor is the caller's."""

    def __contains__(self, name: str) -> bool:
        return os.path.normpath(name) in self._members

    def size(self, name: str) -> int:
        """Bytes of a member."""
        return self._member(name).size

    def read(self, name: str) -> bytes:
        """A small member.

        Raises:
            ArchiveError: it is missing or too long.
        """
        if self.size(name) > manifests.MAX_BYTES:
            raise ArchiveError(f"{self.label}: {name} is too long")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """A member's bytes; any number of threads may read at once."""
        member = self._member(name)
        begin, error = member.offset_data, ArchiveError(f"{self.label}: it ends inside of {name}")
        return files.pieces(self._fd, begin, begin + member.size, error)

    def _member(self, name: str) -> tarfile.TarInfo:
        """The regular file of this name; old archives link repeated layers to one another."""
        path = os.path.normpath(name)
        for _ in range(_MAX_LINKS):
            member = self._members.get(path)
            if member is None:
                break
            if member.isreg():
                return member
            if member.issym():
                path = os.path.normpath(f"{os.path.dirname(path)}/{member.linkname}")
            elif member.islnk():
                path = os.path.normpath(member.linkname)
            else:
                break
        raise ArchiveError(f"{self.label}: {name} is not in the archive")


def open_archive(source_fd: int, label: str, directory: str) -> int:
    """A descriptor of the seekable, uncompressed archive, the caller's to close.

    Args:
        source_fd: a file or a pipe.
        label: names it in messages.
        directory: where a nameless copy goes, if one is needed.

    Raises:
        ArchiveError: its compression is broken.
        StorageError: the copy cannot be written.
    """
    first = b""
    while len(first) < 6 and (more := os.read(source_fd, _CHUNK_BYTES)):
        first += more
    compressed = first.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"))
    if not compressed and _seekable(source_fd):
        return os.dup(source_fd)
    return nameless_copy(_uncompressed(first, source_fd, label), directory, label)


def nameless_copy(chunks: Iterable[bytes], directory: str, label: str) -> int:
    """A file that goes when it is closed and holds ``chunks``, open at its end.

    Raises:
        StorageError: it cannot be written; or what ``chunks`` raises.
    """
    fd = nameless_file(directory, label)
    try:
        with open(fd, "wb", closefd=False) as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        os.close(fd)
        raise StorageError(f"{label}: write a copy: {error.strerror}") from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def nameless_file(directory: str, label: str) -> int:
    """A new file that goes when it is closed.

    Raises:
        StorageError: it cannot be made there.
    """
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{label}: make a file in {directory}: {error.strerror}") from error


def _seekable(fd: int) -> bool:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        return False
    return True


class _Input(io.RawIOBase):
    """A descriptor whose first bytes were read already."""

    def __init__(self, first: bytes, fd: int) -> None:
        self._first, self._fd = first, fd

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._first[: len(buffer)] or os.read(self._fd, len(buffer))
        self._first = self._first[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _uncompressed(first: bytes, fd: int, label: str) -> Iterator[bytes]:
    """In pieces of bounded size: a few bytes may stand for gigabytes."""
    source = io.BufferedReader(_Input(first, fd), _CHUNK_BYTES)
    reader = _decompressor(first, source)
    while True:
        try:
            block = reader.read(_CHUNK_BYTES)
        except EOFError as error:
            raise ArchiveError(f"{label}: its compressed data ends too early") from error
        except Exception as error:  # one class per compression, without a common one
            raise ArchiveError(f"{label}: its compression is damaged: {error}") from error
        if not block:
            return
        yield block


def _decompressor(first: bytes, source: Any) -> Any:
    if first.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=source)
    if first.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(source)
    if first.startswith(b"\xfd7zXZ\0"):
        import lzma

        return lzma.LZMAFile(source)
    if first.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    return source


class OwnedArchive(Archive):
    """An archive that closes its descriptor."""

    def __init__(self, fd: int, label: str) -> None:
        try:
            super().__init__(fd, label)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)
