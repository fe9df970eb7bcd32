"""The directories of one container's cgroup, by controller; ``""`` is the cgroup2."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# in this order they tell best which processes there are
_TELLING = ("", "pids", "freezer", "name=systemd", "memory", "devices")


def of_processes(paths: Mapping[str, str]) -> str:
    """The directory that tells best which processes there are; empty without a cgroup."""
    for controller in _TELLING:
        if controller in paths:
            return paths[controller]
    return next(iter(paths.values()), "")


def remove_empty(paths: Mapping[str, str]) -> bool:
    """Remove the directories; False as soon as one resists, such as one with processes."""
    for path in dict.fromkeys((of_processes(paths), *paths.values())):
        try:
            posix.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
