"""One lock file per object: taken to change its state, freed by the kernel with its owner."""

from __future__ import annotations

import fcntl
import os

from pyengine.errors import DatabaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Locks:
    """The lock files in ``directory``. There is no limit on their number."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def hold(self, name: str, *, remove: bool = False) -> Hold:
        """Hold the lock ``name``, waiting for who has it.

        Never hold it during a download, an unpack, a wait or an unmount.

        Args:
            name: kind and id, such as ``container-4f2c...``.
            remove: the object is gone afterwards, so its lock file goes too.
        """
        return Hold(self, name, remove=remove)

    def acquire(self, name: str, *, wait: bool) -> int | None:
        """The descriptor that is the lock; None when it is taken and ``wait`` is false.

        The file may be removed by its last owner between our open and our lock, so what we
        locked must still be what the name leads to.
        """
        path = f"{self._directory}/{name}"
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                os.makedirs(self._directory, mode=0o700, exist_ok=True)
                continue
            except OSError as error:
                raise DatabaseError(f"open lock file {path}: {error.strerror}") from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(fd)
                return None
            if self._is_current(path, fd):
                return fd
            os.close(fd)

    def release(self, name: str, fd: int, *, remove: bool = False) -> None:
        """Free a lock that ``acquire`` gave; with ``remove`` its file goes first."""
        if remove:
            try:
                os.unlink(f"{self._directory}/{name}")
            except FileNotFoundError:  # somebody removed the whole root
                pass
        os.close(fd)

    def exists(self, name: str) -> bool:
        """Whether the lock has a file at all."""
        return os.path.exists(f"{self._directory}/{name}")

    def _is_current(self, path: str, fd: int) -> bool:
        ours = os.fstat(fd)
        try:
            named = os.stat(path)
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)


class DirectoryHold:
    """A block that one process at a time has for a directory, of which no lock file stays.

    For files that are read, changed and replaced, where a change made meanwhile would be lost.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> None:
        """Wait for it; OSError where the directory cannot be opened or locked."""
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError:
            os.close(self._fd)
            raise

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Free it."""
        os.close(self._fd)


class Hold:
    """A block that holds a lock."""

    __slots__ = ("_fd", "_locks", "_name", "_remove")

    def __init__(self, locks: Locks, name: str, *, remove: bool) -> None:
        self._locks, self._name, self._remove = locks, name, remove
        self._fd = -1

    def __enter__(self) -> None:
        """Wait for the lock."""
        fd = self._locks.acquire(self._name, wait=True)
        assert fd is not None
        self._fd = fd

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Free it."""
        self._locks.release(self._name, self._fd, remove=self._remove)
