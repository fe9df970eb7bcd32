"""Removes a whole storage root, as it was before the first command."""

from __future__ import annotations

import os

from pyengine import syscalls
from pyengine.errors import StorageError
from pyengine.storage import trees

MOUNT_POINT = 4  # its place in /proc/self/mountinfo (proc(5))


def remove_everything(root: str, runroot: str) -> None:
    """Unmount what is mounted below the two directories, and empty them.

    Raises:
        StorageError: ``root`` holds no database of ours, or something cannot be removed.
    """
    if not os.path.exists(f"{root}/pyengine.db"):
        raise StorageError(f"reset {root}: it holds no pyengine.db, so it is left alone")
    try:
        for path in _mounts_below(root):
            syscalls.umount2(path, syscalls.MNT_DETACH)
        for directory in (runroot, root):
            # The database last: without it, a second try would refuse.
            for name in sorted(os.listdir(directory), key=lambda name: name == "pyengine.db"):
                trees.remove_tree(f"{directory}/{name}")
    except OSError as error:
        raise StorageError(f"reset {root}: {error.filename}: {error.strerror}") from error


def _mounts_below(root: str) -> list[str]:
    """The deepest first."""
    with open("/proc/self/mountinfo", "rb") as file:
        points = [line.split()[MOUNT_POINT] for line in file]
    names = [os.fsdecode(point.decode("unicode_escape").encode("latin-1")) for point in points]
    return [name for name in reversed(names) if name.startswith(f"{root}/")]
