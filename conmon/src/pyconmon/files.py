"""Files that appear and vanish whole."""

from __future__ import annotations

import posix

from pyconmon import diagnostics


def replace(path: str, text: str, *, sync: bool) -> None:
    """Write a file at once: a reader sees all of the text or what was before.

    Args:
        path: its directory must exist.
        text: the whole content.
        sync: wait until the file and its name are on the disk.

    Raises:
        OSError: nothing of it is left behind.
    """
    temporary = f"{path}.{posix.getpid()}"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC
    fd = posix.open(temporary, flags, 0o666)
    try:
        rest = diagnostics.encode(text)
        while rest:  # the last block of a disk takes a part
            rest = rest[posix.write(fd, rest) :]
        if sync:
            posix.fsync(fd)
        posix.rename(temporary, path)
    except OSError:
        posix.unlink(temporary)
        raise
    finally:
        posix.close(fd)
    if sync:
        _sync_directory(path.rpartition("/")[0] or ("/" if path.startswith("/") else "."))


def _sync_directory(path: str) -> None:
    fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        posix.fsync(fd)
    except OSError as error:  # some file systems cannot sync a directory
        diagnostics.debug(f"sync {path}: {error.strerror}")
    finally:
        posix.close(fd)


def remove(path: str) -> bool:
    """Unlink a file; ``False`` when there is none.

    Raises:
        OSError: it is there and stays.
    """
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return False
    return True


def read_all(path: str) -> bytes:
    """The whole content.

    Raises:
        OSError: it cannot be read.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        blocks = []
        while block := posix.read(fd, 65536):
            blocks.append(block)
        return b"".join(blocks)
    finally:
        posix.close(fd)


def exists(path: str) -> bool:
    """Whether there is something at ``path`` that we may see."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True
