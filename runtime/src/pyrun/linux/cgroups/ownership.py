"""Makes a container the owner of its cgroup (runtime-spec config-linux.md, "Cgroup ownership").

Only cgroup2 can be delegated, and only the files that the kernel names: with the others the
container could raise its own limits (cgroups(7), "Delegation").
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DELEGATE = "/sys/kernel/cgroup/delegate"
_FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
_LIMIT_BYTES = 4096


def is_writable(mounts: list[dict[str, Any]]) -> bool:
    """Whether the container mounts its cgroup to write in it."""
    return any(
        entry.get("source") == "cgroup"
        and entry["destination"] == "/sys/fs/cgroup"
        and "ro" not in (entry.get("options") or ())
        for entry in mounts
    )


def host_id(inside: int, mappings: list[dict[str, Any]]) -> int:
    """The id that a user namespace calls ``inside``; -1 where it has none."""
    for entry in mappings:
        offset: int = inside - entry["containerID"]
        if 0 <= offset < entry["size"]:
            return offset + int(entry["hostID"])
    return -1


def give(directory: str, uid: int) -> None:
    """Make a user the owner of a cgroup and of what is delegated with it.

    Raises:
        OSError: the kernel refused.
    """
    posix.chown(directory, uid, -1)
    for name in _delegated():
        try:
            posix.chown(f"{directory}/{name}", uid, -1)
        except FileNotFoundError:
            continue  # of a controller that this cgroup does not have


def _delegated() -> tuple[str, ...]:
    try:
        fd = posix.open(_DELEGATE, posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return _FILES  # before Linux 4.15
    try:
        return tuple(posix.read(fd, _LIMIT_BYTES).decode().split())
    finally:
        posix.close(fd)
