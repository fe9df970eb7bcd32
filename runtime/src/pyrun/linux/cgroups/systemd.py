"""The systemd driver: the container's cgroup is a transient scope, which systemd makes and owns.

cgroup2 only: in v1 systemd writes a unit's device rules anew whenever it likes, so ours would not
hold.
"""

from __future__ import annotations

import os

from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import dbus, limits_v2, manager, select, v2
from pyrun.linux.cgroups.manager import SIGKILL, UNIFIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BUS_NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
TIMEOUT_S = 30.0
USEC = 1_000_000
# Files that systemd writes as well, and the property that makes it write our value.
UNIFIED_PROPERTIES = {
    "cpu.weight": "CPUWeight",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}


class Systemd(dbus.Connection):
    """A connection to the system's or the user's systemd that notices the end of jobs."""

    def __init__(self, path: str, uid: int, *, bus: bool) -> None:
        """See ``dbus.Connection``."""
        self.ended: dict[str, str] = {}
        super().__init__(path, uid, bus=bus, timeout_s=TIMEOUT_S)
        if bus:
            rule = f"type='signal',interface='{MANAGER}',member='JobRemoved'"
            self.call(dbus.BUS, "/org/freedesktop/DBus", dbus.BUS, "AddMatch", "s", rule)
            self.ask("Subscribe")

    def ask(self, member: str, signature: str = "", *values: Any) -> list[Any]:
        """Call a method of systemd's manager."""
        return self.call(BUS_NAME, PATH, MANAGER, member, signature, *values)

    def unexpected(self, message: dbus.Message) -> None:
        """Keep how a job ended; the signal may come before the answer that names the job."""
        if message.kind == dbus.SIGNAL and message.fields.get(dbus.MEMBER) == "JobRemoved":
            _, job, _, result = message.body
            self.ended[job] = result

    def wait(self, job: str) -> str:
        """How the job ended: ``done`` is well."""
        while job not in self.ended:
            self.unexpected(self.read())
        return self.ended.pop(job)


def connect(step: str, *, user: bool) -> Systemd:
    """Reach systemd over its bus, or by its own socket where there is no bus.

    Raises:
        KernelError: neither works; names both.
    """
    uid = outer_uid()
    folder = f"/run/user/{uid}" if user else "/run"
    bus = f"{folder}/bus" if user else "/run/dbus/system_bus_socket"
    tried = []
    for path, is_bus in ((bus, True), (f"{folder}/systemd/private", False)):
        try:
            return Systemd(path, uid, bus=is_bus)
        except (OSError, dbus.DBusError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            tried.append(f"{path}: {reason}")
    problem = f"systemd cannot be reached ({'; '.join(tried)}); the cgroupfs driver needs none"
    raise KernelError(step, problem)


def outer_uid() -> int:
    """This user outside of its user namespace, as systemd knows it."""
    own = os.geteuid()
    for line in manager.read_file("/proc/self/uid_map").splitlines():
        inside, outside, size = map(int, line.split())
        if inside <= own < inside + size:
            return outside + own - inside
    return own


def parse_path(cgroups_path: str, container_id: str, *, user: bool) -> tuple[str, str]:
    """Slice and unit of ``slice:prefix:name``, with runc's defaults for what is left empty.

    Raises:
        ConfigError: it has another form.
    """
    parts = cgroups_path.split(":") if cgroups_path else ["", "pyrun", container_id]
    if len(parts) != 3 or not parts[2] or "/" in cgroups_path:
        problem = f"{cgroups_path!r} is not slice:prefix:name, which the systemd driver needs"
        raise ConfigError("/linux/cgroupsPath", problem)
    above, prefix, name = parts
    above = above or ("user.slice" if user else "system.slice")
    if not above.endswith(".slice"):
        raise ConfigError("/linux/cgroupsPath", f"{above!r} is not the name of a slice")
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    return above, unit.replace("+", "\\x2b")


def expand_slice(name: str) -> str:
    """``a-b.slice`` is below ``a.slice`` (systemd.slice(5))."""
    stem = name.removesuffix(".slice")
    if stem == "-":
        return ""
    words = stem.split("-")
    return "".join(f"/{'-'.join(words[: index + 1])}.slice" for index in range(len(words)))


def make(cgroups_path: str, container_id: str, *, rootless: bool) -> Manager:
    """The manager of a container that is being created; see ``select.manager``.

    Raises:
        ConfigError: ``cgroups_path`` is not ``slice:prefix:name``.
        KernelError: systemd cannot be reached, or this is no cgroup2 host.
    """
    user = rootless or outer_uid() != 0
    above, unit = parse_path(cgroups_path, container_id, user=user)
    step = f"make the systemd scope {unit}"
    connection = connect(step, user=user)
    try:
        found = select.hierarchies()
        if select.layout(found) != "v2":
            problem = "the systemd driver needs cgroup2 alone; use --cgroup-manager cgroupfs"
            raise KernelError(step, problem)
        properties = "org.freedesktop.DBus.Properties"
        (top,) = connection.call(BUS_NAME, PATH, properties, "Get", "ss", MANAGER, "ControlGroup")
    except (OSError, dbus.DBusError) as error:
        raise KernelError(step, str(error)) from error
    finally:
        connection.close()
    top = str(top).removesuffix("/init.scope").rstrip("/")
    path = f"{found[0].mountpoint}{top}{expand_slice(above)}/{unit}"
    made = Manager("v2", {UNIFIED: path}, found, rootless=rootless)
    made.slice, made.unit, made.user = above, unit, user
    return made


def from_record(record: dict[str, Any]) -> Manager:
    """See ``select.from_record``."""
    made = Manager("v2", record["paths"], rootless=record["rootless"])
    made.slice, made.unit, made.user = record["slice"], record["unit"], record["user"]
    made.started = True
    return made


class Manager(v2.Manager):
    """A scope: systemd makes it around the first process that joins; then it is a v2 cgroup."""

    slice = ""
    unit = ""
    user = False
    started = False

    def create(self, resources: dict[str, Any], pointer: str = "/linux/resources") -> None:
        """Check the limits and keep them: a scope cannot be without a process.

        Raises:
            ConfigError: cgroup2 cannot express a limit.
            KernelError: the scope is there and has processes.
        """
        self._resources = resources
        self._pointer = pointer
        limits_v2.settings(resources, self.paths[UNIFIED], pointer)
        self.require_unused()

    def join(self, pid: int, sub_path: str = "", beside: int = 0) -> None:
        """Move a process in; the first one makes the scope, and its limits are written then."""
        if self.started:
            self._attach(pid, sub_path, beside)
            return
        step = f"make the systemd scope {self.unit}"
        properties = unit_properties(self.unit, self.slice, pid or os.getpid(), self._resources)
        self._job(step, "StartTransientUnit", "ssa(sv)a(sa(sv))", "replace", properties, [])
        self.started = True
        v2.enable(self.paths[UNIFIED], None)
        self.set(self._resources, self._pointer, creating=True)

    def _attach(self, pid: int, sub_path: str, beside: int) -> None:
        try:
            super().join(pid, sub_path, beside)
        except KernelError:
            # A user may not move a process out of another of systemd's units, systemd may.
            if not self.user:
                raise
            step = f"move process {pid} to the systemd scope {self.unit}"
            inside = f"/{sub_path.strip('/')}" if sub_path else ""
            connection = connect(step, user=True)
            try:
                pids = [pid or os.getpid()]
                connection.ask("AttachProcessesToUnit", "ssau", self.unit, inside, pids)
            except (OSError, dbus.DBusError) as error:
                raise KernelError(step, str(error)) from error
            finally:
                connection.close()

    def clone_fd(self) -> int:
        """There is no directory before a process has joined."""
        return super().clone_fd() if self.started else -1

    def delete(self) -> None:
        """Kill what is left, let systemd stop the scope, and remove what it leaves."""
        if self.foreign:
            return
        if self.procs():
            if self.is_frozen():
                self.thaw()
            self.kill_all(SIGKILL)
        self._job(f"stop the systemd scope {self.unit}", "StopUnit", "ss", "replace")
        super().delete()

    def _job(self, step: str, member: str, signature: str, *values: Any) -> None:
        """Run one of systemd's jobs on the unit to its end."""
        connection = connect(step, user=self.user)
        try:
            try:
                (job,) = connection.ask(member, signature, self.unit, *values)
            except dbus.DBusError as error:
                if member == "StopUnit" and error.name.endswith((".NoSuchUnit", ".LoadFailed")):
                    return  # systemd drops a scope when its last process ends
                if not error.name.endswith(".UnitExists"):
                    raise
                connection.ask("ResetFailedUnit", "s", self.unit)  # left by one that failed
                (job,) = connection.ask(member, signature, self.unit, *values)
            result = connection.wait(job)
        except (OSError, dbus.DBusError) as error:
            raise KernelError(step, str(error)) from error
        finally:
            connection.close()
        if result != "done":
            raise KernelError(step, f"systemd's job ended as {result}")

    def set(
        self,
        resources: dict[str, Any],
        pointer: str = "/linux/resources",
        *,
        creating: bool = False,
    ) -> None:
        """Write the limits, and tell systemd, which would else undo them at its next reload."""
        super().set(resources, pointer, creating=creating)
        properties = [] if creating else limit_properties(resources)
        if not properties:
            return
        step = f"set the limits of the systemd scope {self.unit}"
        connection = connect(step, user=self.user)
        try:
            connection.ask("SetUnitProperties", "sba(sv)", self.unit, True, properties)
        except (OSError, dbus.DBusError) as error:
            raise KernelError(step, str(error)) from error
        finally:
            connection.close()

    def record(self) -> dict[str, Any]:
        """See ``manager.Manager.record``."""
        own = {"driver": "systemd", "slice": self.slice, "unit": self.unit, "user": self.user}
        return {**super().record(), **own}


def unit_properties(
    unit: str, above: str, pid: int, resources: dict[str, Any]
) -> list[tuple[str, dbus.Variant]]:
    """The scope around ``pid``: delegated, so that systemd leaves what is below it to us."""
    return [
        ("Description", dbus.Variant("s", f"container {unit.removesuffix('.scope')}")),
        ("Slice", dbus.Variant("s", above)),
        ("PIDs", dbus.Variant("au", [pid])),
        ("Delegate", dbus.Variant("b", True)),
        ("MemoryAccounting", dbus.Variant("b", True)),
        ("CPUAccounting", dbus.Variant("b", True)),
        ("IOAccounting", dbus.Variant("b", True)),
        ("TasksAccounting", dbus.Variant("b", True)),
        ("DefaultDependencies", dbus.Variant("b", False)),
        *limit_properties(resources),
    ]


def limit_properties(resources: dict[str, Any]) -> list[tuple[str, dbus.Variant]]:
    """The limits that systemd keeps for a unit itself (systemd.resource-control(5))."""
    found = []
    unlimited = 2**64 - 1
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    for key, name in (("limit", "MemoryMax"), ("reservation", "MemoryLow")):
        if memory.get(key):
            value = unlimited if memory[key] == -1 else memory[key]
            found.append((name, dbus.Variant("t", value)))
    if memory.get("swap"):
        swap = limits_v2.memory_swap(memory.get("limit") or 0, memory["swap"], "")
        found.append(
            ("MemorySwapMax", dbus.Variant("t", unlimited if swap == "max" else int(swap)))
        )
    if cpu.get("shares") and not cpu.get("idle"):
        found.append(("CPUWeight", dbus.Variant("t", limits_v2.cpu_weight(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota, period = cpu.get("quota") or -1, cpu.get("period") or 100_000
        per_second = unlimited if quota <= 0 else quota * USEC // period
        found.append(("CPUQuotaPerSecUSec", dbus.Variant("t", per_second)))
        found.append(("CPUQuotaPeriodUSec", dbus.Variant("t", period)))
    for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        if cpu.get(key):
            found.append((name, dbus.Variant("ay", cpu_mask(cpu[key]))))
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        found.append(("TasksMax", dbus.Variant("t", unlimited if limit < 0 else limit)))
    for file, name in UNIFIED_PROPERTIES.items():
        text = (resources.get("unified") or {}).get(file, "").strip()
        if text == "max" or text.isdigit():
            found.append((name, dbus.Variant("t", unlimited if text == "max" else int(text))))
    return found


def cpu_mask(cpus: str) -> bytes:
    """``0-2,7`` as a bit mask, lowest byte first."""
    bits = 0
    for part in cpus.split(","):
        first, _, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError as error:
            problem = f"{cpus!r} is not a list such as 0-2,7"
            raise ConfigError("/linux/resources/cpu", problem) from error
        bits |= ((1 << (high - low + 1)) - 1) << low
    return bits.to_bytes(max(1, (bits.bit_length() + 7) // 8), "little")
