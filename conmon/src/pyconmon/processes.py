"""The monitor's children: the runtime, then the container, at last the exit command."""

from __future__ import annotations

import posix

from pyconmon import diagnostics, exits, loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Processes:
    """Reaps the children, whoever has started them, and tells whose end it was."""

    __slots__ = (
        "_loop", "_on_container", "_on_other", "_on_runtime", "_statuses", "command_code",
        "command_pid", "container_pid", "runtime_pid",
    )  # fmt: skip

    def __init__(
        self,
        the_loop: loop.Loop,
        on_runtime: Callable[[int], None],
        on_container: Callable[[int | None], None],
        on_other: Callable[[int, int], bool],
    ) -> None:
        """No child is known yet: each ``*_pid`` is -1 before and after its life.

        Args:
            the_loop: waits for a container that is no child.
            on_runtime: called with the wait status of the runtime's command.
            on_container: called with the container's, or None where nobody knows it.
            on_other: called with pid and wait status; whether it was expected.
        """
        self._loop = the_loop
        self._on_runtime = on_runtime
        self._on_container = on_container
        self._on_other = on_other
        self._statuses: dict[int, int] = {}  # of children reaped before anyone asked for them
        self.runtime_pid = self.container_pid = -1
        self.command_pid = self.command_code = -1

    def reap(self) -> None:
        """Collect every child that ended; some are only re-parented to us."""
        while True:
            try:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self.runtime_pid:
                self.runtime_pid = -1
                self._on_runtime(status)
            elif pid == self.container_pid:
                self._end_container(status)
            elif pid == self.command_pid:
                self.command_pid = -1
                self.command_code = exits.code_of(status)
            elif not self._on_other(pid, status) and self.container_pid < 0:
                self._statuses[pid] = status

    def await_container(self, pid: int) -> bool:
        """From here on ``pid`` is the container; ``False`` if it has ended or is no child."""
        self.container_pid = pid
        if pid in self._statuses:
            self._end_container(self._statuses.pop(pid))
            return False
        self._statuses.clear()
        try:
            ended, status = posix.waitpid(pid, posix.WNOHANG)
        except ChildProcessError:
            self._await_stranger(pid)
            return False
        if ended:
            self._end_container(status)
        return not ended

    def _await_stranger(self, pid: int) -> None:
        """Wait for a container that is nobody's child of ours: its exit code stays unknown."""
        diagnostics.warn(f"process {pid} is no child of the monitor: its exit code is unknown")
        try:
            fd = posix.pidfd_open(pid)
        except ProcessLookupError:
            self._end_container(None)
            return

        def on_end(_events: int) -> None:
            self._loop.forget(fd)
            posix.close(fd)
            self._end_container(None)

        self._loop.watch(fd, loop.READ, on_end)

    def _end_container(self, status: int | None) -> None:
        self._on_container(status)
        self.container_pid = -1

    def signal(self, number: int) -> None:
        """Send a signal to the container, or to the runtime that works on it."""
        for pid in (self.container_pid, self.runtime_pid):
            if pid > 0:  # -1 would be every process of the machine
                try:
                    posix.kill(pid, number)
                except ProcessLookupError:  # it is not our child, and somebody has reaped it
                    continue
                return
