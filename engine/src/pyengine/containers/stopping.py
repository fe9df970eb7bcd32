"""Ends a container's program: asks, waits, and kills only what does not obey.

In two steps, so that several containers can be asked before the first one is waited for.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import os
import time

from pyengine import log
from pyengine.containers import ends, record
from pyengine.containers.host import start_time
from pyengine.errors import RuntimeCallError
from pyengine.monitor import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container

KILL = 9
FOREVER = float("inf")


class Stop:
    """The end of one container that has a process. The lock is not held meanwhile."""

    __slots__ = ("_command", "_container", "_deadline", "_events", "_host", "_limit_s", "_locked")

    def __init__(
        self,
        host: Host,
        container: Container,
        timeout_s: int | None,
        *events: str,
        locked: bool = False,
    ) -> None:
        """Ask it to end, or with no time to wait, make it.

        Args:
            host: where it is.
            container: it.
            timeout_s: how long to wait; the container's own time by default, negative for ever.
            events: what to tell when it was asked.
            locked: the caller has its lock.
        """
        config = container.config
        self._host, self._container = host, container
        self._events, self._locked = events, locked
        self._command = events[0] if events else "rm"
        self._limit_s = config["stop_timeout_s"] if timeout_s is None else timeout_s
        if container.status != "running":
            self._limit_s = 0  # frozen, or not even started: there is nobody to ask
        self._deadline = time.monotonic() + self._limit_s if self._limit_s >= 0 else FOREVER
        if self._limit_s == 0:
            self._kill()
        elif not self._signal(config["stop_signal"]):
            self._deadline = 0.0  # the process has gone

    def complete(self) -> exits.Exit | None:
        """Wait for the end, which comes by force when the time is over; how, if that is known."""
        left_s = max(self._deadline - time.monotonic(), 0.0)
        limit_s = None if self._deadline == FOREVER else left_s
        if self._limit_s:
            ended, how = wait(self._host, self._container, limit_s)
            if ended:
                return how
            if self._deadline:
                self._warn()
            self._kill()
        return wait(self._host, self._container, None)[1]

    def _signal(self, number: int) -> bool:
        """False where it has ended; the events are told once."""
        events, self._events = self._events, ()
        return signal(
            self._host, self._container, number, *events, command=self._command, locked=self._locked
        )

    def _kill(self) -> None:
        self._signal(KILL)
        if self._container.status == "paused":
            thaw(self._host, self._container)

    def _warn(self) -> None:
        from pyengine.containers.signals import name

        log.warning(
            f"StopSignal {name(self._container.config['stop_signal'])} failed to stop container"
            f" {self._container.name} in {self._limit_s} seconds, resorting to SIGKILL"
        )


def signal(
    host: Host,
    container: Container,
    number: int,
    *events: str,
    command: str = "kill",
    locked: bool = False,
) -> bool:
    """Send a signal for a ``command`` and tell its events; false where the container has ended.

    Under the lock, or the clean-up's events could come before ours.
    """
    if not locked:
        with host.locked(container.id) as lock:
            lock.gone = record.by_id(host, container.id) is None
            if lock.gone:
                return False
            return signal(host, container, number, *events, command=command, locked=True)
    ends.note_request(host, container.id, number, command)
    known = host.runtime(container.config["runtime"]).kill(container.id, number)
    if not known and not _signal_process(container, number):
        return False
    if events:
        host.tell(container, *events)
    return True


def _signal_process(container: Container, number: int) -> bool:
    """Signal a container that its runtime has forgotten; false where it has ended."""
    if not container.pid:
        return False
    try:
        pidfd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(container.pid) != container.pid_start:  # the pid is another's by now
            return False
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def thaw(host: Host, container: Container) -> None:
    """A frozen process of cgroup v1 dies only when it is thawed, which some runtimes do."""
    try:
        host.runtime(container.config["runtime"]).resume(container.id)
    except RuntimeCallError as error:
        from pyengine.containers import remains

        log.debug(f"thaw {container.id[:12]} after SIGKILL: {error}")
        remains.thaw(host, container)


def watch(host: Host, container: Container) -> exits.Watch:
    """The end of a container as descriptors.

    A pid may have been given to another process since the row was written, perhaps to one that
    never ends; once its descriptor is open, it can be compared.
    """
    pid_fd = exits.open_pidfd(container.pid or 0)
    if pid_fd >= 0 and start_time(container.pid or 0) != container.pid_start:
        os.close(pid_fd)
        pid_fd = -1
    monitor_fd = exits.open_pidfd(container.monitor_pid or 0)
    if monitor_fd >= 0 and not record.monitor_lives(container):
        os.close(monitor_fd)
        monitor_fd = -1
    exit_path, bundle = host.exit_path(container.id), host.bundle(container.id)
    return exits.Watch(exit_path, bundle, pid_fd, monitor_fd, container.name)


def wait(
    host: Host, container: Container, timeout_s: float | None
) -> tuple[bool, exits.Exit | None]:
    """Wait for the end, or for so long: whether it has ended, and how if that is known."""
    watching = watch(host, container)
    try:
        return watching.wait(timeout_s)
    finally:
        watching.close()
