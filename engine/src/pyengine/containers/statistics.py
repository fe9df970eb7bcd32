"""What containers use, from their cgroups' files."""

from __future__ import annotations

import os
import time

from pyengine.containers.cgroup_files import Cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.record import Container


class Usage:
    """One look at a container; zeros for one that does not run."""

    def __init__(self, container: Container, before: Usage | None = None) -> None:
        """``before`` is an earlier look, from which on processor time counts."""
        self.container = container
        self.at_ns = time.time_ns()
        self.cpu_ns = self.cpu_system_ns = self.memory = self.memory_limit = self.pids = 0
        self.block_read = self.block_written = self.received = self.sent = 0
        self.per_cpu: list[int] = []
        if container.live:
            self._read(Cgroups(container))
        started_ns = int((container.started_at or 0) * 1e9)
        lived_ns = max(self.at_ns - started_ns, 1) if container.live and started_ns else 0
        self.average_cpu = _percent(self.cpu_ns, lived_ns)
        self.cpu = self.average_cpu
        if before is not None and before.cpu_ns <= self.cpu_ns:
            self.cpu = _percent(self.cpu_ns - before.cpu_ns, self.at_ns - before.at_ns)

    @property
    def memory_percent(self) -> float:
        """Of the limit, or of what the host has."""
        return _percent(self.memory, self.memory_limit)

    def _read(self, cgroups: Cgroups) -> None:
        host_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        read = self._read_v2 if cgroups.is_v2 else self._read_v1
        limit = read(cgroups)
        self.memory_limit = min(limit or host_memory, host_memory)
        self.pids = cgroups.number("pids", "pids.current") or len(cgroups.pids())
        if self.container.config["network"] != "host":
            self.received, self.sent = _network(self.container.pid or 0)

    def _read_v2(self, cgroups: Cgroups) -> int | None:
        times = cgroups.table("cpu", "cpu.stat")
        self.cpu_ns = times.get("usage_usec", 0) * 1000
        self.cpu_system_ns = times.get("system_usec", 0) * 1000
        cache = cgroups.table("memory", "memory.stat").get("inactive_file", 0)
        self.memory = max((cgroups.number("memory", "memory.current") or 0) - cache, 0)
        for line in cgroups.text("io", "io.stat").splitlines():
            pairs = dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)
            self.block_read += int(pairs.get("rbytes", 0))
            self.block_written += int(pairs.get("wbytes", 0))
        return cgroups.number("memory", "memory.max")

    def _read_v1(self, cgroups: Cgroups) -> int | None:
        self.cpu_ns = cgroups.number("cpuacct", "cpuacct.usage") or 0
        ticks = cgroups.table("cpuacct", "cpuacct.stat").get("system", 0)
        self.cpu_system_ns = ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        self.per_cpu = [
            int(word) for word in cgroups.text("cpuacct", "cpuacct.usage_percpu").split()
        ]
        cache = cgroups.table("memory", "memory.stat").get("total_inactive_file", 0)
        self.memory = max((cgroups.number("memory", "memory.usage_in_bytes") or 0) - cache, 0)
        text = cgroups.text("blkio", "blkio.throttle.io_service_bytes_recursive")
        text = text or cgroups.text("blkio", "blkio.throttle.io_service_bytes")
        for row in (line.split() for line in text.splitlines()):
            if len(row) == 3 and row[1] == "Read":
                self.block_read += int(row[2])
            elif len(row) == 3 and row[1] == "Write":
                self.block_written += int(row[2])
        return cgroups.number("memory", "memory.limit_in_bytes")


def _percent(part: float, whole: float) -> float:
    return part / whole * 100 if whole > 0 else 0.0


def _network(pid: int) -> tuple[int, int]:
    """Bytes received and sent by all interfaces but loopback (proc(5), net/dev)."""
    try:
        with open(f"/proc/{pid}/net/dev", encoding="utf-8") as file:
            lines = file.read().splitlines()[2:]
    except OSError:  # it has just ended
        return 0, 0
    received = sent = 0
    for line in lines:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            words = numbers.split()
            received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent
