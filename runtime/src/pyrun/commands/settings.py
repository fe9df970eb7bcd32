"""The global options, and where messages go."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.errors import PyrunError

LEVELS = ("error", "warning", "info", "debug")


def is_host_root() -> bool:
    """Root of another user namespace (podman without root) has not the privileges of the host's."""
    if posix.geteuid() != 0:
        return False
    try:
        fd = posix.open("/proc/self/uid_map", posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:  # a kernel without user namespaces
        return True
    try:
        return posix.read(fd, 4096).split() == [b"0", b"0", b"4294967295"]
    finally:
        posix.close(fd)


def wrong(problem: str) -> PyrunError:
    """The error of a command line that has no meaning."""
    from pyrun.commands.usage import UsageError

    return UsageError(problem)


class Settings:
    """The global options.

    Attributes:
        root: directory of the containers' states.
        log: a file, ``journald:NAME``, ``syslog:NAME``, or an empty string.
        log_format: ``text`` or ``json``.
        level: the least urgent of ``LEVELS`` that is written.
        cgroup_driver: ``cgroupfs``, ``systemd`` or ``disabled``.
        criu: the program to checkpoint and restore with.
        rootless: whether the caller lacks the privileges of the host's root.
    """

    __slots__ = ("cgroup_driver", "criu", "level", "log", "log_format", "root", "rootless")

    def __init__(self) -> None:
        self.root = ""
        self.log = ""
        self.log_format = "text"
        self.level = "warning"
        self.cgroup_driver = "cgroupfs"
        self.criu = "criu"
        self.rootless = False

    def write(self, level: str, message: str) -> None:
        """Write one line to the log, and errors and warnings to standard error (as runc does)."""
        if LEVELS.index(level) <= LEVELS.index(self.level):
            from pyrun.commands import messages

            messages.write(self, level, message)
