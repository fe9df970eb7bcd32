"""Waits for a container to end, without polling: the exit file, or the monitor's death."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import os
import select
import time

from pyengine import log, syscalls

MONITOR_S = 30.0  # a monitor that has not recorded its container's end after this time hangs
KILLED_S = 5.0
REAPED_S = 2.0  # so long the container's new parent may take
# ioctl of a pidfd (linux/pidfd.h); a process's wait status is known from Linux 6.15 on.
_PIDFD_GET_INFO, _PIDFD_INFO_EXIT, _INFO_BYTES = 0xC040FF0B, 1 << 3, 64


class Exit:
    """How a container ended; ``from_kernel`` where its monitor did not say."""

    __slots__ = ("code", "finished_at", "from_kernel", "oom_killed")

    def __init__(
        self, code: int, finished_at: float, *, oom_killed: bool, from_kernel: bool = False
    ) -> None:
        self.code, self.finished_at, self.oom_killed = code, finished_at, oom_killed
        self.from_kernel = from_kernel


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
        return os.pidfd_open(pid) if pid else -1
    except (ProcessLookupError, ValueError):
        return -1


def code_of_ended(pidfd: int) -> int | None:
    """The exit code of a process that has ended, from the kernel; None where it does not know.

    Only who has opened the descriptor before the end can ask, once the process is reaped.
    """
    poller = select.poll()
    poller.register(pidfd, 0)  # POLLHUP: reaped
    if not poller.poll(REAPED_S * 1000):
        return None
    import fcntl

    info = bytearray(_PIDFD_INFO_EXIT.to_bytes(_INFO_BYTES, "little"))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:  # an older kernel
        return None
    if not info[0] & _PIDFD_INFO_EXIT:
        return None
    code = os.waitstatus_to_exitcode(int.from_bytes(info[-4:], "little"))
    return code if code >= 0 else 128 - code


def wait_for_end(pidfd: int, timeout_s: float) -> bool:
    """Wait until a process has ended; false when time is up."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


class Watch:
    """The end of one container as descriptors for a poll loop.

    Its exit file is what counts. A monitor that was killed writes none; then the end of the
    container's own process is what is left to wait for, and the kernel may know how. A monitor
    that still lives long after that end hangs, and is killed.
    """

    def __init__(
        self, exit_path: str, bundle: str, pid_fd: int, monitor_fd: int, name: str
    ) -> None:
        """``pid_fd`` and ``monitor_fd`` come from ``open_pidfd``, and are closed with the watch.

        ``name`` is the container's, for messages.
        """
        self._exit_path, self._bundle, self._name = exit_path, bundle, name
        self._monitor_fd, self._pid_fd, self._ended_fd = monitor_fd, pid_fd, -1
        self._gone_at = None if pid_fd >= 0 else time.monotonic()
        self._inotify_fd = syscalls.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        directory = os.path.dirname(exit_path)
        os.makedirs(directory, mode=0o700, exist_ok=True)  # somebody may have emptied /run
        mask = syscalls.IN_MOVED_TO | syscalls.IN_CLOSE_WRITE
        syscalls.inotify_add_watch(self._inotify_fd, directory, mask)

    def fds(self) -> list[int]:
        """What to poll for, for ``limit_ms`` at most; then call ``poll_result``."""
        return [fd for fd in (self._inotify_fd, self._monitor_fd, self._pid_fd) if fd >= 0]

    def limit_ms(self) -> float | None:
        """When to call ``poll_result`` at the latest, if ever."""
        if self._gone_at is None or self._monitor_fd < 0:
            return None
        return max(self._gone_at + MONITOR_S - time.monotonic(), 0.0) * 1000 + 1

    def poll_result(self) -> tuple[bool, Exit | None]:
        """Whether the container has ended, and how if that is known."""
        if self._monitor_fd >= 0 and _readable(self._monitor_fd):
            self._forget_monitor()
        if self._pid_fd >= 0 and _readable(self._pid_fd):
            self._ended_fd = self._pid_fd
            self._pid_fd, self._gone_at = -1, time.monotonic()
        try:
            os.read(self._inotify_fd, 65536)
        except BlockingIOError:
            pass
        found = read(self._exit_path, self._bundle)
        if found is not None:
            return True, found
        if self._monitor_fd >= 0:
            if self._gone_at is None or time.monotonic() < self._gone_at + MONITOR_S:
                return False, None
            self._end_monitor()
            found = read(self._exit_path, self._bundle)
        if found is None and self._ended_fd >= 0:
            code = code_of_ended(self._ended_fd)
            if code is not None:
                oom_killed = os.path.exists(f"{self._bundle}/oom")
                found = Exit(code, time.time(), oom_killed=oom_killed, from_kernel=True)
        return self._gone_at is not None, found

    def _end_monitor(self) -> None:
        log.warning(
            f"the monitor of container {self._name} does not record its end: killing the monitor,"
            " so the exit code is unknown"
        )
        try:
            _signal.pidfd_send_signal(self._monitor_fd, _signal.SIGKILL)
            wait_for_end(self._monitor_fd, KILLED_S)
        except ProcessLookupError:  # it has just ended
            pass
        self._forget_monitor()

    def _forget_monitor(self) -> None:
        os.close(self._monitor_fd)
        self._monitor_fd = -1

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
            poller.poll(earlier(left_ms, self.limit_ms()))

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self._inotify_fd, self._monitor_fd, self._pid_fd, self._ended_fd):
            if fd >= 0:
                os.close(fd)


def earlier(*limits_ms: float | None) -> float | None:
    """The shortest of some times to wait, of which None is for ever."""
    return min((limit for limit in limits_ms if limit is not None), default=None)


def _readable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))
