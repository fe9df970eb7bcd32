"""One lock file per object: taken to change its state, freed by the kernel with its owner."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import fcntl
import os

from pyengine import log
from pyengine.errors import DatabaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


TOLD_AFTER_S = 10.0


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
        return Hold(self, name, gone=remove)

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
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    os.close(fd)
                    return None
                self._wait(fd, name)
            if self._is_current(path, fd):
                return fd
            os.close(fd)

    def _wait(self, fd: int, name: str) -> None:
        """Take a lock that somebody has, and tell who it is where that takes long."""

        def tell(_number: int, _frame: object) -> None:
            log.warning(f"waiting for {_owner_of(fd)}, which works on {name}")

        try:
            before = _signal.signal(_signal.SIGALRM, tell)
        except ValueError:  # of another thread than the first, which gets no signals
            fcntl.flock(fd, fcntl.LOCK_EX)
            return
        _signal.setitimer(_signal.ITIMER_REAL, TOLD_AFTER_S)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        finally:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, before)

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


def _owner_of(fd: int) -> str:
    """The process that has the lock of a file, by what the kernel says of all locks (proc(5))."""
    inode = f":{os.fstat(fd).st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.split() for line in file]
        # "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE ..."; who waits has "->" in between
        pid = next(row[4] for row in rows if row[1] == "FLOCK" and row[5].endswith(inode))
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            words = cmdline.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except (OSError, StopIteration):  # another pid namespace's
        return "another process"
    return f"process {pid} ({words})"


class Hold:
    """A block that holds a lock.

    Attributes:
        gone: the object does not exist any more, so the lock's file goes, too.
    """

    __slots__ = ("_fd", "_locks", "_name", "gone")

    def __init__(self, locks: Locks, name: str, *, gone: bool) -> None:
        self._locks, self._name, self.gone = locks, name, gone
        self._fd = -1

    def __enter__(self) -> Hold:
        """Wait for the lock."""
        fd = self._locks.acquire(self._name, wait=True)
        assert fd is not None
        self._fd = fd
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Free it."""
        self._locks.release(self._name, self._fd, remove=self.gone)
