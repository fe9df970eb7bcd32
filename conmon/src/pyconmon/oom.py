"""Notices that the kernel killed the container for memory, and keeps the monitor from it."""

from __future__ import annotations

import posix
import select

from pyconmon import diagnostics, files, loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CGROUP_ROOT = "/sys/fs/cgroup"
_SCORE = "/proc/self/oom_score_adj"
_PROTECTED = b"-1000"
# The kernel takes a cgroup down a moment after its files.
_REMOVAL_S = 0.5

_old_score = b""


def _write_score(score: bytes) -> None:
    try:
        fd = posix.open(_SCORE, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, score)
        finally:
            posix.close(fd)
    except OSError as error:  # lowering it takes CAP_SYS_RESOURCE, which rootless has not
        diagnostics.debug(f"failed to write to {_SCORE}: {error.strerror}")


def protect_monitor() -> None:
    """Ask the kernel to kill the monitor last; without the privilege nothing changes."""
    global _old_score
    _old_score = files.read_all(_SCORE).strip()
    if _old_score != _PROTECTED:
        _write_score(_PROTECTED)


def restore_score() -> None:
    """Give a child back the score that the monitor was started with.

    Not that of a caller which may not be killed: the kernel would find nothing to kill in a
    container that is out of memory, and it would hang for ever. conmon does the same.
    """
    wanted = b"0" if _old_score == _PROTECTED else _old_score
    if files.read_all(_SCORE).strip() != wanted:
        _write_score(wanted)


def cgroup_path(pid: int, controller: str) -> str | None:
    """The directory of the cgroup of ``pid``: of a v1 controller, or of cgroup2 for ``""``."""
    try:
        lines = files.read_all(f"/proc/{pid}/cgroup").decode(errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if not controller and number == "0" and not controllers:
            return _CGROUP_ROOT + path
        if controller and controller in controllers.split(","):
            return f"{_CGROUP_ROOT}/{controllers}{path}"
    return None


def create_watch(
    the_loop: loop.Loop, pid: int, on_kill: Callable[[], None]
) -> WatchV1 | WatchV2 | None:
    """Watch the memory cgroup of ``pid``; ``None`` where it has none (any more)."""
    try:
        if files.exists(_CGROUP_ROOT + "/cgroup.controllers"):
            path = cgroup_path(pid, "")
            return WatchV2(the_loop, path, on_kill) if path else None
        path = cgroup_path(pid, "memory")
        return WatchV1(the_loop, path, on_kill) if path else None
    except OSError as error:
        diagnostics.warn(f"cannot watch the memory cgroup of process {pid}: {error.strerror}")
        return None


def restored_watch(
    the_loop: loop.Loop, state: tuple[int, str, int], on_kill: Callable[[], None]
) -> WatchV1 | WatchV2:
    """A watch that another program of this process has begun."""
    fd, path, seen = state
    if seen < 0:
        return WatchV1(the_loop, path, on_kill, fd)
    return WatchV2(the_loop, path, on_kill, fd, seen)


def score() -> bytes:
    """The score that the monitor was started with."""
    return _old_score


def remember_score(old_score: bytes) -> None:
    """What ``score`` answered before this process executed another program."""
    global _old_score
    _old_score = old_score


class WatchV2:
    """``memory.events``: the kernel wakes pollers of the file when a counter changes."""

    EVENTS = loop.PRIORITY | loop.EDGE

    __slots__ = ("_fd", "_loop", "_on_kill", "_path", "_seen", "peak_file")

    def __init__(
        self,
        the_loop: loop.Loop,
        path: str,
        on_kill: Callable[[], None],
        fd: int = -1,
        seen: int = 0,
    ) -> None:
        flags = posix.O_RDONLY | posix.O_CLOEXEC
        self._fd = fd if fd >= 0 else posix.open(path + "/memory.events", flags)
        self._path = path
        self.peak_file = path + "/memory.peak"
        self._loop = the_loop
        self._on_kill = on_kill
        self._seen = seen
        the_loop.watch(self._fd, self.EVENTS, lambda _events: self.check())

    def state(self) -> tuple[int, str, int] | None:
        """What ``restored_watch`` needs; None when there is nothing to watch any more."""
        return (self._fd, self._path, self._seen) if self._fd >= 0 else None

    def check(self) -> None:
        """Look at the counters; also to be called after the container has ended."""
        if self._fd < 0:
            return
        try:
            text = posix.pread(self._fd, 4096, 0)
        except OSError:  # ENODEV: the cgroup was removed, and what it counted with it
            self._loop.forget(self._fd)
            posix.close(self._fd)
            self._fd = -1
            return
        counts = dict(line.split() for line in text.splitlines())
        count = int(counts.get(b"oom", 0)) + int(counts.get(b"oom_kill", 0))
        if count > self._seen:
            self._seen = count
            self._on_kill()


class WatchV1:
    """An eventfd registered with ``memory.oom_control``."""

    EVENTS = loop.READ

    __slots__ = ("_control_file", "_fd", "_on_kill", "_path", "peak_file")

    def __init__(
        self, the_loop: loop.Loop, path: str, on_kill: Callable[[], None], fd: int = -1
    ) -> None:
        self._path = path
        self._control_file = path + "/cgroup.event_control"
        self.peak_file = path + "/memory.max_usage_in_bytes"
        self._on_kill = on_kill
        self._fd = fd if fd >= 0 else self._register()
        the_loop.watch(self._fd, self.EVENTS, lambda _events: self.check())

    def state(self) -> tuple[int, str, int]:
        """What ``restored_watch`` needs."""
        return self._fd, self._path, -1

    def _register(self) -> int:
        flags = posix.O_CLOEXEC
        control_fd = posix.open(self._path + "/memory.oom_control", posix.O_RDONLY | flags)
        event_fd = posix.eventfd(0, posix.EFD_CLOEXEC | posix.EFD_NONBLOCK)
        try:
            register_fd = posix.open(self._control_file, posix.O_WRONLY | flags)
            try:
                posix.write(register_fd, b"%d %d" % (event_fd, control_fd))
            finally:
                posix.close(register_fd)
        finally:
            posix.close(control_fd)  # the kernel keeps what it needs
        return event_fd

    def check(self) -> None:
        """Look at the event counter; also to be called after the container has ended."""
        try:
            count = posix.eventfd_read(self._fd)
        except BlockingIOError:
            return
        if count > 1 or files.exists(self._control_file) or self._is_event_left():
            self._on_kill()

    def _is_event_left(self) -> bool:
        """Whether one more event comes, now that the cgroup goes.

        Its removal counts as an event too, a moment after the files have gone. What came before
        it was a kill.
        """
        return bool(select.select((self._fd,), (), (), _REMOVAL_S)[0])


def peak_bytes(watch: WatchV1 | WatchV2) -> int | None:
    """The most memory that the cgroup held; ``None`` before Linux 5.19 on v2."""
    try:
        return int(files.read_all(watch.peak_file))
    except (OSError, ValueError):
        return None
