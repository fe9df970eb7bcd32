"""Removes the files in a container's directory, and the directory."""

from __future__ import annotations

import posix

from pyrun.container import store
from pyrun.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry

_KEPT = (store.STATE, store.CONFIG, store.FIFO)
_OWN = frozenset((*_KEPT, *(f"{name}.new" for name in _KEPT)))


def remove(entry: Entry) -> None:
    """Remove the directory with everything in it; the lock goes with it.

    Raises:
        ContainerError: it could not be removed.
    """
    try:
        empty(entry)
        posix.rmdir(entry.path)
    except OSError as error:
        raise ContainerError(f"remove {entry.path}: {error.strerror}") from error


def empty(entry: Entry) -> None:
    """Remove the files, such as those that a killed command left; the lock stays.

    Raises:
        ContainerError: the directory is somebody else's (a wrong --root).
    """
    found = posix.listdir(entry.path)
    if store.NOTIFY in found:
        found.remove(store.NOTIFY)
        directory = entry.file(store.NOTIFY)
        for name in posix.listdir(directory):
            posix.unlink(f"{directory}/{name}")
        posix.rmdir(directory)
    others = sorted(name for name in set(found) - _OWN if not name.startswith(store.NODE))
    if others:
        raise ContainerError(f"{entry.path} is no container: it holds {others[0]!r}")
    for name in found:
        posix.unlink(entry.file(name))


def forget_nodes(entry: Entry) -> None:
    """Remove the names of devices that init has mounted."""
    for name in posix.listdir(entry.path):
        if name.startswith(store.NODE):
            posix.unlink(entry.file(name))
