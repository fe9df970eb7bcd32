"""Which operation is allowed in which status (runtime-spec runtime.md, "Lifecycle")."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix
import select

from pyrun import names
from pyrun.container import store
from pyrun.errors import ContainerError, KernelError
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry
    from pyrun.linux.cgroups.manager import Manager
    from pyrun.spec.types import JsonObject

_END_TIMEOUT_MS = 10_000


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when it has ended (proc(5))."""
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        text = posix.read(fd, 4096)
    except ProcessLookupError:
        return 0
    finally:
        posix.close(fd)
    fields = text[text.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(entry: Entry) -> bool:
    """Whether init runs: the number alone could be another process by now."""
    pid = entry.state.get("pid", 0)
    return pid > 0 and start_time(pid) == entry.state["pid_start"]


def status(entry: Entry, *, held: bool = False) -> str:
    """``creating``, ``created``, ``running``, ``paused`` or ``stopped``.

    Args:
        entry: read.
        held: this process holds the lock, so nobody is creating the container.
    """
    if entry.state.get("stage") != "created":
        return "creating" if not held and store.is_locked(entry) else "stopped"
    if not is_alive(entry):
        return "stopped"
    if is_paused(entry):
        return "paused"
    return "created" if names.exists(entry.file(store.FIFO)) else "running"


def is_paused(entry: Entry) -> bool:
    """Whether the freezer holds the container; one small file, and no driver is loaded for it."""
    paths = (entry.state.get("cgroup") or {}).get("paths") or {}
    try:
        if "freezer" in paths:
            fd = posix.open(f"{paths['freezer']}/freezer.state", posix.O_RDONLY | posix.O_CLOEXEC)
        elif "" in paths:
            fd = posix.open(f"{paths['']}/cgroup.freeze", posix.O_RDONLY | posix.O_CLOEXEC)
        else:
            return False
    except FileNotFoundError:
        return False
    try:
        return posix.read(fd, 16).strip() not in (b"THAWED", b"0")
    except OSError:  # ENODEV: the cgroup was removed meanwhile
        return False
    finally:
        posix.close(fd)


def state_of(entry: Entry, status_now: str) -> JsonObject:
    """The state as the specification has it (runtime.md, "State"); hooks read it."""
    state = entry.state
    return {
        "ociVersion": state.get("ociVersion", ""),
        "id": entry.id,
        "pid": 0 if status_now == "stopped" else state.get("pid", 0),
        "status": status_now,
        "bundle": state.get("bundle", ""),
        "annotations": state.get("annotations", {}),
    }


def _manager(entry: Entry) -> Manager | None:
    from pyrun.linux.cgroups import select as drivers

    record = entry.state.get("cgroup")
    return drivers.from_record(record) if record else None


def start(entry: Entry) -> None:
    """Let init execute its program.

    The entry is locked; hooks that run afterwards hold no lock.

    Raises:
        ContainerError: the status does not allow it, or the program cannot be executed.
    """
    now = status(entry, held=True)
    if now != "created":
        raise ContainerError(f"start container {entry.id}: status is {now}, must be created")
    fifo = entry.file(store.FIFO)
    path_fd = posix.open(fifo, posix.O_PATH | posix.O_CLOEXEC)
    # From here on the status is running, even if we are killed: a second start cannot be right.
    posix.unlink(fifo)
    pid_fd = posix.pidfd_open(entry.state["pid"])
    fifo_fd = posix.open(
        f"/proc/self/fd/{path_fd}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC
    )
    posix.close(path_fd)
    said = _read_verdict(fifo_fd, pid_fd)
    posix.close(fifo_fd)
    posix.close(pid_fd)
    if said:
        from pyrun.container import channel

        raise channel.revive(jsontext.loads(said.decode()))
    poststart = entry.state["hooks"]["poststart"]
    if poststart:
        from pyrun.container import hooks

        entry.unlock()
        try:
            hooks.run("poststart", poststart, state_of(entry, "running"))
        except ContainerError:
            end(entry)
            raise


def _read_verdict(fifo_fd: int, pid_fd: int) -> bytes:
    """What init says went wrong; nothing when the program was executed.

    The descriptor that init writes to is close-on-exec: its end is the news of success.
    """
    poll = select.poll()
    poll.register(fifo_fd, select.POLLIN)
    poll.register(pid_fd, select.POLLIN)
    said = b""
    while True:
        events = dict(poll.poll())
        chunk = posix.read(fifo_fd, 65536) if fifo_fd in events else b""
        said += chunk
        if not chunk:
            return said


def kill(entry: Entry, signal: int, *, everyone: bool = False) -> None:
    """Send a signal to init, or to every process of the container.

    Raises:
        ContainerError: the container does not run.
        KernelError: the kernel refused.
    """
    now = status(entry)
    if everyone:
        manager = _manager(entry)
        if manager and (manager.procs() or now == "stopped"):
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
        if not is_alive(entry):  # the number went to another process before the pidfd was made
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
    if (entry.state.get("cgroup") or {}).get("layout") != "v2" and is_paused(entry):
        manager = _manager(entry)
        if manager:
            manager.thaw()


def end(entry: Entry) -> None:
    """Kill init and wait until it has ended.

    Raises:
        KernelError: it did not end in time.
    """
    if not is_alive(entry):
        return
    try:
        pid_fd = posix.pidfd_open(entry.state["pid"])
    except ProcessLookupError:
        return
    try:
        if is_alive(entry):
            _signal.pidfd_send_signal(pid_fd, _signal.SIGKILL)
            _thaw(entry)
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
    now = status(entry, held=True)
    if now != "stopped" and not force:
        raise _not_stopped(entry, now)
    poststop = (entry.state.get("hooks") or {}).get("poststop")
    state = state_of(entry, "stopped")
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
    now = status(entry)
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
    manager = _manager(entry)
    if manager:
        manager.delete()
    if entry.state.get("recorder"):
        from pyrun.container import record

        recorder, begun = entry.state["recorder"]
        if start_time(recorder) == begun:
            record.wait(recorder)
    if entry.state.get("resctrl"):
        from pyrun.linux import resctrl

        resctrl.remove(entry.state["resctrl"])
    kept = entry.state.get("host_mounts")
    if kept is not None:
        from pyrun.linux import host_mounts

        host_mounts.detach(entry.state["rootfs"], kept)


def discard(entry: Entry) -> None:
    """``clear``, and remove the directory.

    Raises:
        KernelError: a process or a cgroup resists; the directory stays for another try.
    """
    clear(entry)
    entry.remove()
    entry.unlock()
