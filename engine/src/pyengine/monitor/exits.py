"""Waits for a container to end, without polling: the exit file, or the monitor's death."""

from __future__ import annotations

import os
import select
import time

from pyengine import syscalls


class Exit:
    """How a container ended."""

    __slots__ = ("code", "finished_at", "oom_killed")

    def __init__(self, code: int, finished_at: float, *, oom_killed: bool) -> None:
        self.code, self.finished_at, self.oom_killed = code, finished_at, oom_killed


def read(exit_path: str, bundle: str) -> Exit | None:
    """What the monitor recorded, or nothing where it has not (yet)."""
    try:
        with open(exit_path, encoding="utf-8") as file:
            text, finished_at = file.read().strip(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    if not text.lstrip("-").isdecimal():
        return None
    return Exit(int(text) & 0xFF, finished_at, oom_killed=os.path.exists(f"{bundle}/oom"))


def open_pidfd(pid: int) -> int:
    """A descriptor that is readable when the process has ended, or -1 where there is none."""
    try:
        return os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return -1


def wait_for_end(pidfd: int, timeout_s: float) -> bool:
    """Wait until a process has ended; false when time is up."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


class Watch:
    """The end of one container as descriptors for a poll loop.

    Its exit file is what counts. A monitor that was killed writes none; then the end of the
    container's own process is what is left to wait for.
    """

    def __init__(self, exit_path: str, bundle: str, pid: int, monitor_pid: int) -> None:
        self._exit_path, self._bundle = exit_path, bundle
        self._inotify_fd = syscalls.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        syscalls.inotify_add_watch(
            self._inotify_fd,
            os.path.dirname(exit_path),
            syscalls.IN_MOVED_TO | syscalls.IN_CLOSE_WRITE,
        )
        self._monitor_fd = open_pidfd(monitor_pid) if monitor_pid else -1
        self._pid_fd = open_pidfd(pid) if pid else -1

    def fds(self) -> list[int]:
        """What to poll for; call ``poll_result`` when one is readable."""
        if self._monitor_fd >= 0:
            return [self._inotify_fd, self._monitor_fd]
        return [self._inotify_fd, *([self._pid_fd] if self._pid_fd >= 0 else [])]

    def monitor_alive(self) -> bool:
        """Whether somebody will still write an exit file."""
        return self._monitor_fd >= 0

    def poll_result(self) -> tuple[bool, Exit | None]:
        """Whether the container has ended, and how if that is known."""
        if self._monitor_fd >= 0 and _readable(self._monitor_fd):
            os.close(self._monitor_fd)
            self._monitor_fd = -1
        try:
            os.read(self._inotify_fd, 65536)
        except BlockingIOError:
            pass
        found = read(self._exit_path, self._bundle)
        if found is not None:
            return True, found
        if self._monitor_fd >= 0:
            return False, None
        return self._pid_fd < 0 or _readable(self._pid_fd), None

    def wait(self, timeout_s: float | None) -> tuple[bool, Exit | None]:
        """Wait until the container has ended, or for so long."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            ended, how = self.poll_result()
            if ended:
                return True, how
            left_ms = None if deadline is None else (deadline - time.monotonic()) * 1000
            if left_ms is not None and left_ms <= 0:
                return False, None
            poller = select.poll()
            for fd in self.fds():
                poller.register(fd, select.POLLIN)
            poller.poll(left_ms)

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self._inotify_fd, self._monitor_fd, self._pid_fd):
            if fd >= 0:
                os.close(fd)


def _readable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))
