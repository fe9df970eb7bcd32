"""The global options, and where messages go."""

from __future__ import annotations

import posix
import sys

LEVELS = ("error", "warning", "info", "debug")


def is_host_root() -> bool:
    """Root of another user namespace (podman without root) has not the privileges of the host's."""
    if posix.geteuid() != 0:
        return False
    try:
        with open("/proc/self/uid_map", "rb") as uid_map:
            return uid_map.read().split() == [b"0", b"0", b"4294967295"]
    except FileNotFoundError:  # a kernel without user namespaces
        return True


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
        self.rootless = not is_host_root()

    def write(self, level: str, message: str) -> None:
        """Write one line to the log, and errors and warnings to standard error (as runc does)."""
        if LEVELS.index(level) > LEVELS.index(self.level):
            return
        line = self._line(level, message)
        if self.log.startswith(("journald:", "syslog:")):
            from pyrun.commands import system_log

            try:
                system_log.write(self.log, level, message)
            except OSError as error:
                sys.stderr.write(f"pyrun: write the log {self.log}: {error.strerror}\n")
            line = f"{message}\n"
        elif self.log:
            try:
                flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
                fd = posix.open(self.log, flags, 0o644)
                try:
                    posix.write(fd, line.encode(errors="replace"))
                finally:
                    posix.close(fd)
            except OSError as error:
                sys.stderr.write(f"pyrun: write the log {self.log}: {error.strerror}\n")
            line = f"{message}\n"
        if level != "debug" or not self.log:
            sys.stderr.write(line)

    def _line(self, level: str, message: str) -> str:
        import time

        from pyrun.spec import jsontext

        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.log_format == "json":
            return jsontext.dumps({"level": level, "msg": message, "time": now}) + "\n"
        return f'time="{now}" level={level} msg={jsontext.dumps(message)}\n'
