"""What is mounted below the root of a container without a mount namespace of its own."""

from __future__ import annotations

import posix

from pyrun import syscalls
from pyrun.errors import KernelError
from pyrun.linux import paths

_TRIES = 100


def below(directory: str) -> dict[str, str]:
    """Mounts below ``directory`` in the order they were made: identifier to target (proc(5))."""
    found = {}
    with open("/proc/self/mountinfo", errors="surrogateescape") as lines:
        for line in lines:
            number, _, _, _, target = line.split(" ")[:5]
            target = _unescape(target)
            if target.startswith(f"{directory.rstrip('/')}/"):
                found[number] = target
    return found


def _unescape(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def detach(directory: str, kept: list[str]) -> None:
    """Unmount what is below ``directory``, the newest first.

    Each one is found below the directory without leaving it, and compared by its identifier: the
    names may change at any time, and one of them could lead to a mount of the host.

    Args:
        directory: the root of the container on the host.
        kept: identifiers of the mounts that were there before.

    Raises:
        KernelError: the kernel refused.
    """
    problem: OSError | str = ""
    for _ in range(_TRIES):
        left = {one: path for one, path in below(directory).items() if one not in kept}
        if not left:
            return
        root_fd = posix.open(directory, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            for number in reversed(left):
                try:
                    problem = _unmount(root_fd, left[number][len(directory) :], number) or problem
                except OSError as error:
                    problem = error
        finally:
            posix.close(root_fd)
    raise KernelError(f"unmount what is below {directory}", problem)


def _unmount(root_fd: int, path: str, number: str) -> str:
    """Unmount ``path`` if it is the mount ``number``; returns why not."""
    fd = paths.open_inside(root_fd, path, posix.O_PATH | posix.O_NOFOLLOW)
    try:
        if _mount_of(fd) != number:
            return f"{path} is another mount by now"
        syscalls.umount2(paths.proc_path(fd), syscalls.MNT_DETACH)
    finally:
        posix.close(fd)
    return ""


def _mount_of(fd: int) -> str:
    """The identifier of the mount that a descriptor is on."""
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        for line in lines:
            if line.startswith("mnt_id:"):
                return line.split()[1]
    return ""
