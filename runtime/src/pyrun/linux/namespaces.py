"""Creates and joins namespaces (runtime-spec config-linux.md, "Namespaces")."""

from __future__ import annotations

import fcntl
import posix

from pyrun import syscalls
from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# the specification's type: the kernel's flag and the name in /proc/PID/ns
TYPES = {
    "user": (syscalls.CLONE_NEWUSER, "user"),
    "mount": (syscalls.CLONE_NEWNS, "mnt"),
    "network": (syscalls.CLONE_NEWNET, "net"),
    "ipc": (syscalls.CLONE_NEWIPC, "ipc"),
    "uts": (syscalls.CLONE_NEWUTS, "uts"),
    "cgroup": (syscalls.CLONE_NEWCGROUP, "cgroup"),
    "pid": (syscalls.CLONE_NEWPID, "pid"),
    "time": (syscalls.CLONE_NEWTIME, "time"),
}
_NS_GET_NSTYPE = 0xB703

# They change the children of the process that enters them, not the process itself.
OF_CHILDREN = syscalls.CLONE_NEWPID | syscalls.CLONE_NEWTIME


class Plan:
    """Which namespaces are made and which are joined.

    Attributes:
        new: CLONE_NEW flags of those to make.
        joined: flag to descriptor of those to join.
        entered: CLONE_NEW flags of those that this process has joined early.
    """

    __slots__ = ("_may_return", "entered", "joined", "new")

    def __init__(self) -> None:
        self.new = 0
        self.entered = 0
        self.joined: dict[int, int] = {}
        self._may_return: bool | None = None

    def has(self, flag: int) -> bool:
        """Whether the container has a namespace of its own, made or joined."""
        return bool(self.new & flag) or flag in self.joined

    def may_return(self) -> bool:
        """Whether this process may go back to its own pid namespace after it entered another.

        Root of a user namespace may not when the pid namespace is the host's (podman without
        root). Asked once, by the first who wants to know, before anything is entered.
        """
        if self._may_return is None:
            own_fd = posix.open("/proc/self/ns/pid", posix.O_RDONLY | posix.O_CLOEXEC)
            try:
                syscalls.setns(own_fd, syscalls.CLONE_NEWPID)  # where it is already
                self._may_return = True
            except PermissionError:
                self._may_return = False
            finally:
                posix.close(own_fd)
        return self._may_return

    def close(self) -> None:
        """Close the descriptors of the namespaces to join."""
        for fd in self.joined.values():
            posix.close(fd)
        self.joined = {}


def plan(entries: Iterable[dict[str, Any]], pointer: str = "/linux/namespaces") -> Plan:
    """Open every namespace that is to be joined, while its path still means what the caller meant.

    Raises:
        ConfigError: a type is unknown or twice there, or a path is no such namespace.
    """
    made = Plan()
    for index, entry in enumerate(entries):
        where = f"{pointer}/{index}"
        try:
            flag = TYPES[entry["type"]][0]
        except KeyError:
            raise ConfigError(f"{where}/type", f"unknown namespace {entry.get('type')!r}") from None
        if made.has(flag):
            raise ConfigError(f"{where}/type", f"the namespace {entry['type']} is there twice")
        path = entry.get("path")
        if not path:
            made.new |= flag
            continue
        made.joined[flag] = _open(path, flag, entry["type"], f"{where}/path")
    return made


def _open(path: str, flag: int, name: str, pointer: str) -> int:
    try:
        # a fifo, which is none, must not keep us
        fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(pointer, f"open {path}: {error.strerror}") from error
    try:
        is_that = fcntl.ioctl(fd, _NS_GET_NSTYPE) == flag
    except OSError:
        is_that = False
    if not is_that:
        posix.close(fd)
        raise ConfigError(pointer, f"{path} is no {name} namespace")
    return fd


def is_other(pid: int, name: str) -> bool:
    """Whether a process is in another namespace of this kind than this one is.

    Args:
        pid: of the process.
        name: as in /proc/PID/ns; of a kind that the kernel does not have there is none.

    Raises:
        OSError: nothing tells; to take it for no would leave something of the host to the process.
    """
    try:
        ours = posix.stat(f"/proc/self/ns/{name}")
    except FileNotFoundError:
        return False
    return posix.stat(f"/proc/{pid}/ns/{name}").st_ino != ours.st_ino


def join(made: Plan, flags: int) -> None:
    """Enter those of ``made.joined`` that are in ``flags``, the user namespace first.

    Raises:
        KernelError: the kernel refused.
    """
    for name, (flag, _) in TYPES.items():
        if not flag & flags & ~made.entered or flag not in made.joined:
            continue
        try:
            syscalls.setns(made.joined[flag], flag)
        except OSError as error:
            raise KernelError(f"join the {name} namespace", error) from error


def join_from_outside(made: Plan) -> None:
    """Before a user namespace is entered: join what may not be joined from inside of it.

    A namespace to join may belong to the host or to another user namespace. Those that cannot be
    joined from here are left for ``join``; so is the mount namespace, which shows another /proc.
    """
    if not made.has(syscalls.CLONE_NEWUSER):
        return
    for flag, fd in made.joined.items():
        if flag & (syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS):
            continue
        try:
            syscalls.setns(fd, flag)
            made.entered |= flag
        except PermissionError:
            continue


def unshare(flags: int) -> None:
    """Make the namespaces of ``flags``.

    Raises:
        KernelError: the kernel refused.
    """
    if not flags:
        return
    try:
        syscalls.unshare(flags)
    except OSError as error:
        names = [name for name, (flag, _) in TYPES.items() if flag & flags]
        raise KernelError(f"create the namespaces {', '.join(names)}", error) from error


def open_time_offsets() -> int:
    """For ``set_time_offsets``; in a new user namespace this file would be another user's.

    Raises:
        KernelError: it cannot be opened.
    """
    try:
        return posix.open("/proc/self/timens_offsets", posix.O_WRONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open the offsets of the time namespace", error) from error


def set_time_offsets(offsets: dict[str, dict[str, int]], fd: int) -> None:
    """Set the clocks of the new time namespace, before its first process (time_namespaces(7)).

    Args:
        offsets: ``linux.timeOffsets``; not empty, for the kernel refuses to write nothing.
        fd: from ``open_time_offsets``; closed here.

    Raises:
        KernelError: the kernel refused.
    """
    lines = [
        f"{clock} {offset.get('secs') or 0} {offset.get('nanosecs') or 0}\n"
        for clock, offset in offsets.items()
    ]
    try:
        posix.write(fd, "".join(lines).encode())
    except OSError as error:
        raise KernelError("set the offsets of the time namespace", error) from error
    finally:
        posix.close(fd)
