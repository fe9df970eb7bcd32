"""Changes the schemata of a container's group in resctrl (Intel RDT: Documentation/arch/x86)."""

from __future__ import annotations

import posix

from pyrun import names
from pyrun.errors import ContainerError, KernelError

MOUNTINFO = "/proc/self/mountinfo"


def mountpoint() -> str:
    """Where resctrl is mounted; empty without it."""
    with open(MOUNTINFO) as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            if right.startswith("resctrl "):
                return left.split(" ")[4]
    return ""


def write_schemata(group: str, lines: list[str], option: str) -> None:
    """Write lines such as ``L3:0=f`` or ``MB:0=50``, each to the group's schemata.

    Args:
        group: its name below the mountpoint.
        lines: of schemata.
        option: what asked for it, for messages.

    Raises:
        ContainerError: this host has no resctrl, or the container has no group in it.
        KernelError: the kernel refused a line.
    """
    top = mountpoint()
    if not top:
        raise ContainerError(f"option {option}: this host has no resctrl file system (Intel RDT)")
    path = f"{top}/{group}/schemata"
    if not names.exists(path):
        raise ContainerError(f"option {option}: the container has no group {group} in {top}")
    for line in lines:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, f"{line}\n".encode())
        except OSError as error:
            raise KernelError(f"write {line} to {path}", error) from error
        finally:
            posix.close(fd)
