"""One lock file per object: taken to change its state, freed by the kernel with its owner."""

from __future__ import annotations

import contextlib
import fcntl
import os

from pyengine.errors import DatabaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Locks:
    """The lock files in ``directory``. There is no limit on their number."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def hold(self, name: str, *, remove: bool = False) -> Iterator[None]:
        """Hold the lock ``name``, waiting for who has it.

        Never hold it during a download, an unpack, a wait or an unmount.

        Args:
            name: kind and id, such as ``container-4f2c...``.
            remove: the object is gone afterwards, so its lock file goes too.
        """
        fd = self.acquire(name, wait=True)
        assert fd is not None
        try:
            yield
        finally:
            self.release(name, fd, remove=remove)

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
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._directory}/{name}")
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
