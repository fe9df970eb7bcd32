"""What is mounted below the root of a container without a mount namespace of its own."""

from __future__ import annotations

from pyrun import syscalls
from pyrun.errors import KernelError


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

    Args:
        directory: the root of the container on the host.
        kept: identifiers of the mounts that were there before.

    Raises:
        KernelError: the kernel refused.
    """
    found = below(directory)
    for number in reversed(found):
        if number in kept:
            continue
        try:
            syscalls.umount2(found[number], syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        except OSError as error:
            if number in below(directory):  # else it went with the one above it
                raise KernelError(f"unmount {found[number]}", error) from error
