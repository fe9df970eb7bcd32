"""Files of images in directories: read by name, and written so that no half of one is seen."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile

from pyengine.errors import ArchiveError, StorageError
from pyengine.images import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    from pyengine.errors import PyengineError

    class Files(Protocol):
        """An archive's or a directory's files by name."""

        label: str

        def read(self, name: str) -> bytes:
            """A small file."""

        def chunks(self, name: str) -> Iterator[bytes]:
            """Any file."""

        def size(self, name: str) -> int:
            """Bytes of a file."""

        def __contains__(self, name: str) -> bool: ...

        def close(self) -> None:
            """Free what was opened."""


_CHUNK_BYTES = 1 << 20


class Directory:
    """The files of a directory; names come from checked digests and constants."""

    def __init__(self, path: str, label: str, blobs: str | None = None) -> None:
        """``blobs`` is another directory for what lies below ``blobs/``."""
        self._path, self.label = path, label
        self._blobs = blobs
        if not os.path.isdir(path):
            problem = "is no directory" if os.path.exists(path) else "does not exist"
            raise ArchiveError(f"{label}: {path} {problem}")

    def __contains__(self, name: str) -> bool:
        return os.path.exists(self._file(name))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        try:
            return os.stat(self._file(name)).st_size
        except OSError as error:
            raise ArchiveError(f"{self.label}: read {name}: {error.strerror}") from error

    def read(self, name: str) -> bytes:
        """A small file.

        Raises:
            ArchiveError: it is missing or too long.
        """
        if self.size(name) > manifests.MAX_BYTES:
            raise ArchiveError(f"{self.label}: {name} is too long")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file's bytes."""
        try:
            with open(self._file(name), "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise ArchiveError(f"{self.label}: read {name}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is open."""

    def _file(self, name: str) -> str:
        if self._blobs is not None and name.startswith("blobs/"):
            return f"{self._blobs}/{name.removeprefix('blobs/')}"
        return f"{self._path}/{name}"


def pieces(fd: int, begin: int, end: int, error: PyengineError) -> Iterator[bytes]:
    """What a file holds from one place to another; any number of threads may read at once.

    Raises:
        PyengineError: ``error``, where the file ends before.
    """
    while begin < end:
        piece = os.pread(fd, min(_CHUNK_BYTES, end - begin), begin)
        if not piece:
            raise error
        begin += len(piece)
        yield piece


def make_directory(path: str, label: str) -> None:
    """Make a directory and those above it.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise StorageError(f"write {label}: make {path}: {error.strerror}") from error


def staging_beside(path: str, label: str) -> str:
    """A new directory on the file system of ``path``."""
    try:
        return tempfile.mkdtemp(prefix=f".{os.path.basename(path)}-", dir=os.path.dirname(path))
    except OSError as error:
        raise StorageError(f"write {label}: {error.strerror}: {os.path.dirname(path)}") from error


def write(path: str, chunks: Iterable[bytes], label: str) -> None:
    """Write a file that appears when it is complete.

    Raises:
        StorageError: it cannot be written.
    """
    staged = f"{path}.{os.urandom(8).hex()}"
    write_hashed(staged, chunks, label)
    os.rename(staged, path)


def write_by_digest(directory: str, chunks: Iterable[bytes], label: str) -> tuple[str, int]:
    """Write a file that is named after what it holds, without the algorithm; digest and size.

    Raises:
        StorageError: it cannot be written.
    """
    staged = f"{directory}/.{os.urandom(8).hex()}"
    digest, size = write_hashed(staged, chunks, label)
    os.rename(staged, f"{directory}/{digest[7:]}")
    return digest, size


def write_hashed(path: str, chunks: Iterable[bytes], label: str) -> tuple[str, int]:
    """Write a new file, which goes if that fails; its digest and size."""
    digest, size = hashlib.sha256(), 0
    try:
        with open(path, "xb", buffering=0) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
    except BaseException as error:
        if os.path.exists(path):
            os.unlink(path)
        if isinstance(error, OSError):
            raise StorageError(f"write {label}: {path}: {error.strerror}") from error
        raise
    return f"sha256:{digest.hexdigest()}", size


def write_tar(path: str, staged: str, members: Iterable[tuple[str, str]], label: str) -> None:
    """Write an archive that appears when it is complete; the same files give the same bytes.

    Args:
        path: of the archive.
        staged: the directory with the files; the archive is written beside it.
        members: names in the archive, each with its file below ``staged``.
        label: names the archive in messages.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        with tarfile.open(f"{staged}.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            for name, file in members:
                _add_member(archive, name, f"{staged}/{file}")
        os.rename(f"{staged}.tar", path)
    except OSError as error:
        raise StorageError(f"write {label}: {error.strerror}") from error


def remove_staged(staged: str) -> None:
    """Remove what ``write_tar`` works with."""
    shutil.rmtree(staged, ignore_errors=True)
    if os.path.exists(f"{staged}.tar"):
        os.unlink(f"{staged}.tar")


def _add_member(archive: tarfile.TarFile, name: str, path: str) -> None:
    """Without owner or time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = os.stat(path).st_size, 0o644
    with open(path, "rb") as file:
        archive.addfile(member, file)
