"""Which operation is allowed in which status (runtime-spec runtime.md, "Lifecycle").

``create`` and ``starting`` have the first two of them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyrun.container import removal, status
from pyrun.errors import ContainerError, KernelError
from pyrun.linux.cgroups import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry
    from pyrun.linux.cgroups.manager import Manager
    from pyrun.spec.types import JsonObject

_END_TIMEOUT_MS = 10_000


def _manager(entry: Entry) -> Manager | None:
    from pyrun.linux.cgroups import select as drivers

    record = entry.state.get("cgroup")
    return drivers.from_record(record) if record else None


def kill(entry: Entry, signal: int, *, everyone: bool = False) -> None:
    """Send a signal to init, or to every process of the container.

    SIGKILL is for every process where the death of init does not end the others.

    Raises:
        ContainerError: the container does not run.
        KernelError: the kernel refused.
    """
    now = status.of(entry)
    outlived = signal == _signal.SIGKILL and not entry.state.get("own_pid_namespace")
    if everyone or outlived:
        manager = _manager(entry)
        if manager and (manager.procs() or (everyone and now == "stopped")):
            manager.kill_all(signal)
            if signal == _signal.SIGKILL:
                _thaw(entry)
            return
    if now not in ("created", "running", "paused"):
        raise ContainerError(f"kill container {entry.id}: container not running: status is {now}")
    try:
        pid_fd = posix.pidfd_open(entry.state["pid"])
    except ProcessLookupError:
        raise ContainerError(f"kill container {entry.id}: container not running") from None
    try:
        if not status.is_alive(entry):  # another process got the number before the pidfd was made
            raise ContainerError(f"kill container {entry.id}: container not running")
        _signal.pidfd_send_signal(pid_fd, signal)
        if signal == _signal.SIGKILL:
            _thaw(entry)
    except OSError as error:
        raise KernelError(f"send signal {signal} to container {entry.id}", error) from error
    finally:
        posix.close(pid_fd)


def _thaw(entry: Entry) -> None:
    """Let a paused container die: cgroup v1 keeps SIGKILL from frozen processes, v2 does not."""
    if (entry.state.get("cgroup") or {}).get("layout") == "v2":
        return
    if status.is_paused(entry) or _has_more_freezers(entry):
        manager = _manager(entry)
        if manager:
            manager.release()


def _has_more_freezers(entry: Entry) -> bool:
    """Whether the container made cgroups below its own, which it may have frozen by itself."""
    paths = (entry.state.get("cgroup") or {}).get("paths") or {}
    try:
        return "freezer" in paths and posix.stat(paths["freezer"]).st_nlink > 2
    except OSError:  # it is gone
        return False


def end(entry: Entry) -> None:
    """Kill init and wait until it has ended.

    Raises:
        KernelError: it did not end in time.
    """
    if not status.is_alive(entry):
        return
    try:
        pid_fd = posix.pidfd_open(entry.state["pid"])
    except ProcessLookupError:
        return
    try:
        if status.is_alive(entry):
            _signal.pidfd_send_signal(pid_fd, _signal.SIGKILL)
            _thaw(entry)
            import select  # not for one that has stopped

            poll = select.poll()
            poll.register(pid_fd, select.POLLIN)
            if not poll.poll(_END_TIMEOUT_MS):
                raise KernelError(f"end container {entry.id}", "its init did not die of SIGKILL")
    except ProcessLookupError:
        return
    finally:
        posix.close(pid_fd)


def delete(entry: Entry, *, force: bool = False) -> list[str]:
    """Remove what create made; the entry is locked. Returns warnings.

    Raises:
        ContainerError: the container has not stopped, without ``force``.
        KernelError: a process or a cgroup cannot be removed.
    """
    now = status.of(entry, held=True)
    if now != "stopped" and not force:
        raise _not_stopped(entry, now)
    poststop = (entry.state.get("hooks") or {}).get("poststop")
    state = status.state_of(entry, "stopped")
    discard(entry)
    if not poststop:
        return []
    from pyrun.container import hooks

    return hooks.run_all("poststop", poststop, state)


def interrupt(entry: Entry, *, force: bool) -> None:
    """Before ``delete`` waits for a command that works on the container, and may wait for a hook.

    Raises:
        ContainerError: the container has not stopped, without ``force``.
        KernelError: init cannot be killed.
    """
    now = status.of(entry)
    if force:
        end(entry)
    elif now != "stopped":
        raise _not_stopped(entry, now)


def _not_stopped(entry: Entry, now: str) -> ContainerError:
    problem = f"status is {now}, must be stopped (or use --force)"
    return ContainerError(f"delete container {entry.id}: {problem}")


def clear(entry: Entry) -> None:
    """End the processes and remove the cgroup that state.json names.

    Raises:
        KernelError: one of them resists.
    """
    end(entry)
    cgroup = entry.state.get("cgroup")
    if cgroup and not _is_removed(cgroup):
        from pyrun.linux.cgroups import select as drivers

        drivers.from_record(cgroup).delete()
    if entry.state.get("recorder"):
        from pyrun.container import record

        recorder, begun = entry.state["recorder"]
        if status.start_time(recorder) == begun:
            record.wait(recorder)
    if entry.state.get("resctrl"):
        from pyrun.linux import resctrl

        resctrl.remove(entry.state["resctrl"])
    kept = entry.state.get("host_mounts")
    if kept is not None:
        from pyrun.linux import host_mounts

        host_mounts.detach(entry.state["rootfs"], kept)


def _is_removed(cgroup: JsonObject) -> bool:
    """Whether the cgroup needed no more than rmdir(2), for which no driver has to be loaded.

    That is the rule where all processes have ended. Elsewhere the first directory stays: it is the
    one by which the driver finds what is left.
    """
    return cgroup["driver"] == "cgroupfs" and places.remove_empty(cgroup["paths"])


def discard(entry: Entry) -> None:
    """``clear``, and remove the directory.

    Raises:
        KernelError: a process or a cgroup resists; the directory stays for another try.
    """
    clear(entry)
    removal.remove(entry)
    entry.unlock()
