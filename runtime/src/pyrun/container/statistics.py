"""``events``: what a container uses, and notices that its memory ran out, as runc tells them."""

from __future__ import annotations

import posix
import select

from pyrun.container import status
from pyrun.errors import ContainerError, KernelError
from pyrun.linux.cgroups import select as drivers
from pyrun.linux.cgroups.hierarchy import UNIFIED, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrun.container.store import Entry
    from pyrun.spec.types import JsonObject

# cgroup2 has nothing of this; readers of runc's JSON expect it all the same
_NO_CPUSET = {
    "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
    "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
    "sched_load_balance": 0, "sched_relax_domain_level": 0,
}  # fmt: skip


def require_alive(entry: Entry) -> None:
    """Refuse a container that uses nothing any more.

    Raises:
        ContainerError: it has stopped.
    """
    now = status.of(entry)
    if now in ("stopped", "creating"):
        raise ContainerError(f"read events of container {entry.id}: it is not running: it is {now}")


def stats(entry: Entry) -> JsonObject:
    """One event of the type ``stats``.

    Raises:
        KernelError: a file of the cgroup cannot be read.
    """
    manager = drivers.from_record(entry.state["cgroup"] or {})
    try:
        if not manager.paths:
            found: JsonObject = {}
        elif manager.layout == "v2":
            from pyrun.linux.cgroups import stats_v2

            found = stats_v2.read(manager.paths[UNIFIED])
        else:
            from pyrun.linux.cgroups import stats_v1

            found = stats_v1.read(manager.paths)
    except OSError as error:
        step = f"read what container {entry.id} uses: {error.filename or 'its cgroup'}"
        raise KernelError(step, error) from error
    data = {
        "cpu": found.get("cpu") or {},
        "cpuset": found.get("cpuset") or _NO_CPUSET,
        "memory": found.get("memory") or {},
        "pids": found.get("pids") or {},
        "blkio": found.get("blkio") or {},
        "hugetlb": found.get("hugetlb") or {},
        "intel_rdt": _intel_rdt(entry),
        "network_interfaces": None,
    }
    return {"type": "stats", "id": entry.id, "data": data}


def _intel_rdt(entry: Entry) -> JsonObject:
    if not entry.state.get("resctrl"):
        return {}
    from pyrun.linux import resctrl

    return resctrl.stats(entry.state["resctrl"])


def follow(entry: Entry, interval_s: float) -> Iterator[JsonObject]:
    """Events until the container stops: ``stats`` after each interval, and each ``oom``.

    Raises:
        ContainerError: it has stopped before.
        KernelError: a file of its cgroup cannot be read.
    """
    try:
        pid_fd = posix.pidfd_open(entry.state["pid"])
    except ProcessLookupError:
        pid_fd = -1
    if pid_fd < 0 or not status.is_alive(entry):
        raise ContainerError(f"read events of container {entry.id}: it has stopped")
    watch = _watch(entry)
    poll = select.poll()
    poll.register(pid_fd, select.POLLIN)
    if watch:
        poll.register(watch.fd, watch.mask)
    next_s = _now() + interval_s
    while True:
        happened = {fd for fd, _ in poll.poll(max(0.0, next_s - _now()) * 1000)}
        # before the end of init, which may be what the kernel killed
        for _ in range(watch.count() if watch else 0):
            yield {"type": "oom", "id": entry.id}
        if pid_fd in happened:
            return
        if _now() >= next_s:
            next_s += interval_s
            yield stats(entry)


def _now() -> float:
    import time

    return time.monotonic()


class _WatchV1:
    """An eventfd that the memory controller adds to (cgroup-v1/memory.txt, "OOM Control")."""

    mask = select.POLLIN

    def __init__(self, directory: str) -> None:
        self.fd = posix.eventfd(0, posix.EFD_CLOEXEC | posix.EFD_NONBLOCK)
        control_fd = posix.open(f"{directory}/memory.oom_control", posix.O_RDONLY)
        write_file(f"{directory}/cgroup.event_control", f"{self.fd} {control_fd}")
        posix.close(control_fd)
        self._directory = directory

    def count(self) -> int:
        """How often it ran out since the last call; the end of the cgroup is no such time."""
        try:
            added = posix.eventfd_read(self.fd)
        except BlockingIOError:
            return 0
        try:
            read_file(f"{self._directory}/memory.oom_control")
        except OSError:
            return 0
        return added


class _WatchV2:
    """memory.events, which wakes its pollers when a count changes."""

    mask = select.POLLPRI

    def __init__(self, directory: str) -> None:
        self.fd = posix.open(f"{directory}/memory.events", posix.O_RDONLY | posix.O_CLOEXEC)
        self._seen = self._kills()

    def _kills(self) -> int:
        try:
            text = posix.pread(self.fd, 4096, 0).decode()
        except OSError:  # ENODEV: the cgroup was removed
            return self._seen
        values = dict(line.split() for line in text.splitlines())
        return int(values.get("oom_kill", 0))

    def count(self) -> int:
        """How many processes the kernel killed since the last call."""
        before, self._seen = self._seen, self._kills()
        return self._seen - before


def _watch(entry: Entry) -> _WatchV1 | _WatchV2 | None:
    """Whatever tells that memory ran out; None where no controller limits it."""
    paths = (entry.state["cgroup"] or {}).get("paths") or {}
    try:
        if "memory" in paths:
            return _WatchV1(paths["memory"])
        if UNIFIED in paths:
            return _WatchV2(paths[UNIFIED])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"watch the memory of container {entry.id}", error) from error
    return None
