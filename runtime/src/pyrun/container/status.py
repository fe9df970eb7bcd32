"""Which status a container has, and its state (runtime-spec runtime.md, "State")."""

from __future__ import annotations

import posix

from pyrun.container import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry
    from pyrun.spec.types import JsonObject


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


def of(entry: Entry, *, held: bool = False) -> str:
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
    return "created" if posix.access(entry.file(store.FIFO), posix.F_OK) else "running"


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
