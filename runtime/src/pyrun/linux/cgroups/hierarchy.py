"""The hierarchies of the host, and entering a cgroup: what a container's own process needs."""

from __future__ import annotations

import posix

from pyrun import names
from pyrun.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

UNIFIED = ""  # the key of the cgroup2 directory in ``paths``


class Hierarchy:
    """One mounted cgroup hierarchy of the host, for joining it and for a container's cgroup mount.

    Attributes:
        name: the directory below /sys/fs/cgroup, such as ``cpu,cpuacct`` or ``unified``; empty
            where cgroup2 itself is mounted at /sys/fs/cgroup.
        fstype: ``cgroup`` or ``cgroup2``.
        data: what mount(2) takes to mount it again, such as ``cpu,cpuacct`` or
            ``none,name=systemd``; empty for cgroup2.
        controllers: ``("cpu", "cpuacct")``, ``("name=systemd",)``; ``("",)`` for cgroup2.
        mountpoint: where the host has it.
        own: the path of this process in it, below ``mountpoint``.
    """

    __slots__ = ("controllers", "data", "fstype", "mountpoint", "name", "own")

    def __init__(
        self, name: str, fstype: str, controllers: tuple[str, ...], mountpoint: str, own: str
    ) -> None:
        self.name = name
        self.fstype = fstype
        self.controllers = tuple(controllers)
        self.mountpoint = mountpoint
        self.own = own
        words = [f"none,{word}" if word.startswith("name=") else word for word in controllers]
        self.data = ",".join(words)

    def fields(self) -> list[object]:
        """What makes another one like it."""
        return [self.name, self.fstype, self.controllers, self.mountpoint, self.own]


def enter(directories: Iterable[str], sub_path: str = "") -> None:
    """Move this process, which has one thread, to v1 directories.

    Moving the thread that asks needs no lock on the forks of the whole host, for which the kernel
    may wait 20 ms (docs/adr/0011).

    Args:
        directories: of the container.
        sub_path: a cgroup below the container's (``exec --cgroup``).

    Raises:
        KernelError: the kernel refused.
    """
    for directory in directories:
        target = below(directory, sub_path)
        try:
            write_file(f"{target}/tasks", "0")
        except OSError as error:
            raise KernelError(f"enter cgroup {target}", error) from error


def clone_fd(directory: str, sub_path: str = "") -> int:
    """A descriptor of a cgroup2 directory for CLONE_INTO_CGROUP, or -1 if there is none."""
    if not directory or ".." in sub_path.split("/"):
        return -1
    try:
        flags = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
        return posix.open(below(directory, sub_path), flags)
    except OSError:
        return -1  # ``Manager.join`` says why


def below(directory: str, sub_path: str) -> str:
    """A cgroup below another."""
    return f"{directory}/{sub_path.strip('/')}" if sub_path else directory


def read_file(path: str, directory_fd: int | None = None) -> str:
    """The whole text of a small file."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=directory_fd)
    try:
        chunks = []
        while chunk := posix.read(fd, 65536):
            chunks.append(chunk)
    finally:
        posix.close(fd)
    return names.decode(b"".join(chunks))


def write_file(path: str, value: str, directory_fd: int | None = None) -> None:
    """Write ``value`` at once, as the files of cgroups want it; never makes a file."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=directory_fd)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)
