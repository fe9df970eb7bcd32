"""Writes files whole or not at all: state.json and what is kept beside it, and pid files."""

from __future__ import annotations

import posix

from pyrun import names
from pyrun.container import store
from pyrun.errors import ContainerError
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry

_REGULAR = 0o100000  # S_IFREG


def save(entry: Entry) -> None:
    """Replace state.json.

    Raises:
        ContainerError: it could not be written.
    """
    write(entry, store.STATE, jsontext.dumps(entry.state).encode())


def write(entry: Entry, name: str, data: bytes) -> None:
    """Replace one file of a container's directory.

    Raises:
        ContainerError: it could not be written.
    """
    replace(entry.file(name), data, f"save {name} of container {entry.id}")


def replace(path: str, data: bytes, step: str, mode: int = 0o600) -> None:
    """Write a file under another name and rename it.

    Raises:
        ContainerError: with ``step``; the file is what it was then.
    """
    new = f"{path}.new"
    try:
        fd = _create(new, mode)
        try:
            _write(fd, data)
            posix.rename(new, path)
        except OSError:
            posix.unlink(new)
            raise
        finally:
            posix.close(fd)
    except OSError as error:
        raise ContainerError(f"{step}: {error.strerror}") from error


def _create(path: str, mode: int) -> int:
    """A new file, never one that somebody else has laid there."""
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        return posix.open(path, flags, mode)
    except FileExistsError:  # left by a killed command, in most cases
        posix.unlink(path)
        return posix.open(path, flags, mode)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[posix.write(fd, data) :]


def write_pid_file(path: str, pid: int) -> None:
    """Write ``--pid-file``; into a device or a pipe, which a rename would put an end to.

    Raises:
        ContainerError: it cannot be written.
    """
    path = names.absolute(path)
    step = f"write the pid file {path}"
    try:
        kind = posix.stat(path).st_mode & 0o170000
    except OSError:  # it is still to be made, or that says why not
        kind = _REGULAR
    if kind == _REGULAR:
        replace(path, str(pid).encode(), step, 0o644)
        return
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            _write(fd, str(pid).encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise ContainerError(f"{step}: {error.strerror}") from error
