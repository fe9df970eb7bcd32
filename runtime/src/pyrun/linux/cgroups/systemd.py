"""The systemd driver: the container's cgroup is a transient scope that systemd makes.

A scope is made together with its first process, so ``create`` only prepares it and ``join`` starts
it. systemd gets the limits that it has properties for; then all of them are written to the files
as the cgroupfs driver does, which also serves everything else.
"""

from __future__ import annotations

import os

from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import (
    dbus,
    select,
    systemd_properties,
    systemd_units,
    v1,
    v2,
)
from pyrun.linux.cgroups.hierarchy import UNIFIED, Hierarchy, read_file
from pyrun.linux.cgroups.manager import Manager, make_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.linux.cgroups.systemd_properties import CpuNow, Property

POINTER = "/linux/cgroupsPath"
SUBGROUP = "run.oci.systemd.subgroup"  # an annotation of crun
UNIT_NAME_LIMIT = 255
_UNIT_CHARS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@"


class Unit:
    """Which unit a container gets.

    Attributes:
        name: such as ``libpod-1234.scope``.
        slice: the slice above it, such as ``machine.slice``.
        place: the socket of its systemd, and whether that is a message bus.
        version: of that systemd.
        below: the cgroup inside it that the container gets, or empty.
    """

    __slots__ = ("below", "name", "place", "slice", "version")

    def __init__(
        self, name: str, slice_name: str, place: systemd_units.Address, version: int, below: str
    ) -> None:
        self.name = name
        self.slice = slice_name
        self.place = place
        self.version = version
        self.below = below


class Scope(Manager):
    """What the managers of all layouts do with systemd; ``unit`` is empty when it has none."""

    unit: Unit | None
    container_id: str
    properties: list[Property]
    pending: tuple[dict[str, Any], str, list[Property]] | None = None

    def create(self, resources: dict[str, Any], pointer: str = "/linux/resources") -> None:
        """Check the limits and prepare the scope, which ``join`` starts.

        Raises:
            ConfigError: a limit has no meaning on this host.
        """
        self.pending = (resources, pointer, self._limits(resources, pointer, creating=True))

    def entered(self) -> list[str]:
        """The scope is not there before ``join``."""
        return []

    def join(
        self,
        pid: int,
        sub_path: str = "",
        beside: int = 0,
        *,
        entered: bool = False,
        cloned: bool = False,
    ) -> None:
        """See ``manager.Manager.join``; the first process starts the scope and its limits.

        Raises:
            ConfigError: a limit needs a controller or a file that this host does not have.
            KernelError: systemd or the kernel refused.
        """
        pid = pid or os.getpid()
        pending, self.pending = self.pending, None
        if pending:
            self._start(pid, pending[2])
        try:
            super().join(pid, sub_path, beside, entered=entered, cloned=cloned)
        except KernelError as error:
            # A user may not move processes between a login session and the user's own systemd.
            if self.unit is None or error.errno not in v2.REFUSED:
                raise
            below = "/".join(filter(None, ("", self.unit.below, sub_path.strip("/"))))
            step = f"move process {pid} to the systemd scope {self.unit.name}"
            with systemd_units.connect([self.unit.place], step) as units:
                units.attach(self.unit.name, below, pid)
        if pending:
            if self.unit and self.unit.below and UNIFIED in self.paths:
                v2.enable(self.paths[UNIFIED], None)  # now that the cgroup above has no process
            self._set_files(*pending[:2], creating=True)

    def _start(self, pid: int, limits: list[Property]) -> None:
        unit = self.unit
        if unit is None:
            raise KernelError("make a systemd scope", "it was made or refused before")
        step = f"make the systemd scope {unit.name} in {unit.slice}"
        is_slice = unit.name.endswith(".slice")
        properties = self._base_properties(is_slice=is_slice) + self.properties + limits
        if not is_slice:
            properties.append(("PIDs", ("au", [pid])))
        try:
            with systemd_units.connect([unit.place], step) as units:
                units.start(unit.name, properties)
        except dbus.CallError as error:
            # There is none, or it is another's: nothing for ``delete`` to end.
            self.unit, self.paths, self.foreign = None, {}, True
            problem = str(error).partition(": ")[2]
            if error.name.endswith(".UnitExists"):
                problem = "there is a unit of this name already, of another container or service"
            elif self.properties:
                words = ", ".join(name for name, _ in self.properties)
                problem += f"; annotations set its properties {words}"
            raise KernelError(step, problem) from error
        directory = self.process_directory().removesuffix(f"/{unit.below}" if unit.below else "")
        if not os.path.isdir(directory):
            raise KernelError(step, f"systemd made it, but not as {directory}")
        if unit.below:
            # no controller for it yet: the cgroup above would become a threaded one, because the
            # process is still there (cgroups(7), "Thread mode")
            for directory in self.directories():
                make_directories(directory, [])
        else:
            self._make([])

    def _base_properties(self, *, is_slice: bool) -> list[Property]:
        unit = self.unit
        above = unit.slice if unit else ""
        found: list[Property] = [
            ("Description", ("s", f"pyrun container {self.container_id}")),
            ("Wants", ("as", [above])) if is_slice else ("Slice", ("s", above)),
            ("DefaultDependencies", ("b", False)),
            # or a container that ended badly would keep its name
            ("CollectMode", ("s", "inactive-or-failed")),
        ]
        if not is_slice:
            found.append(("Delegate", ("b", True)))
        block = "IOAccounting" if self.layout == "v2" else "BlockIOAccounting"
        accounts = ("CPUAccounting", "MemoryAccounting", "TasksAccounting", block)
        return found + [(name, ("b", True)) for name in accounts]

    def _limits(self, resources: dict[str, Any], pointer: str, *, creating: bool) -> list[Property]:
        """The limits as properties; devices too, where systemd may load their filter."""
        if self.layout == "v2":
            from pyrun.linux.cgroups import limits_v2

            directory = self.paths.get(UNIFIED, "")
            if not os.path.isdir(directory):
                directory = os.path.dirname(directory)  # its slice has files of the same names
            settings = limits_v2.settings(resources, directory, pointer)
        else:
            from pyrun.linux.cgroups import limits_v1

            settings = limits_v1.settings(resources)
        version = self.unit.version if self.unit else 0
        found = systemd_properties.of_limits(settings, version, pointer, self._cpu_now())
        if not self.rootless and (creating or resources.get("devices")):
            from pyrun.linux.cgroups import devices

            rules = devices.evaluate(resources.get("devices") or [], f"{pointer}/devices")
            found += systemd_properties.of_devices(rules, read_file("/proc/devices"))
        return found

    def _cpu_now(self) -> CpuNow:
        """Quota, period and idle of the cgroup, or of one that is not there yet."""
        try:
            if UNIFIED in self.paths and self.layout == "v2":
                quota, period = read_file(f"{self.paths[UNIFIED]}/cpu.max").split()
                idle_path = f"{self.paths[UNIFIED]}/cpu.idle"
                idle = read_file(idle_path).strip() if os.path.exists(idle_path) else "0"
            else:
                directory = self.paths.get("cpu", "")
                quota = read_file(f"{directory}/cpu.cfs_quota_us").strip()
                period = read_file(f"{directory}/cpu.cfs_period_us").strip()
                idle = "0"
        except FileNotFoundError:
            return systemd_properties.NO_CPU_LIMIT
        return quota, period, idle

    def set(
        self,
        resources: dict[str, Any],
        pointer: str = "/linux/resources",
        *,
        creating: bool = False,
    ) -> None:
        """See ``manager.Manager.set``; systemd gets them first, then the files."""
        if self.unit:
            properties = self._limits(resources, pointer, creating=creating)
            step = f"set the limits of the systemd scope {self.unit.name}"
            with systemd_units.connect([self.unit.place], step) as units:
                units.change(self.unit.name, properties)
        self._set_files(resources, pointer, creating=creating)

    def _set_files(self, resources: dict[str, Any], pointer: str, *, creating: bool) -> None:
        if self.unit:
            _, period, _ = self._cpu_now()
            resources = systemd_properties.with_systemd_quota(resources, period)
        super().set(  # type: ignore[safe-super]  # v1's or v2's, which come next
            resources, pointer, creating=creating
        )

    def clone_path(self) -> str:
        """See ``manager.Manager.clone_path``; the scope is not there before its first process."""
        return "" if self.pending else super().clone_path()

    def delete(self) -> None:
        """Kill what is left, remove the directories, and have systemd forget the unit.

        Raises:
            KernelError: a process did not die, a directory stayed busy, or systemd refused.
        """
        super().delete()
        if self.unit is None:
            return
        try:
            units = systemd_units.connect([self.unit.place], f"stop {self.unit.name}")
        except KernelError:
            return  # a systemd that comes back finds the empty cgroup and ends the unit itself
        with units:
            units.stop(self.unit.name)

    def record(self) -> dict[str, Any]:
        """See ``manager.Manager.record``."""
        found = super().record()
        found["driver"] = "systemd"
        found["container_id"] = self.container_id
        if self.unit:
            unit = self.unit
            found["unit"] = [unit.name, unit.slice, list(unit.place), unit.version, unit.below]
        return found


class ScopeV1(Scope, v1.Manager):
    """A scope where the controllers are in v1 hierarchies."""


class ScopeV2(Scope, v2.Manager):
    """A scope in cgroup2."""


def make(
    cgroups_path: str, container_id: str, annotations: dict[str, str], *, rootless: bool
) -> Scope:
    """See ``select.manager``; ``cgroups_path`` is ``slice:prefix:name``."""
    user = os.geteuid() != 0 or systemd_units.is_foreign()
    name, slice_name = names(cgroups_path, container_id, user=user)
    below = annotations.get(SUBGROUP, "")
    if below != os.path.basename(below) or below in (".", ".."):
        raise ConfigError(f"/annotations/{SUBGROUP}", f"{below!r} cannot be the name of a cgroup")
    properties = systemd_properties.of_annotations(annotations)
    inside = expand_slice(slice_name)
    places = systemd_units.addresses(os.environ, user=user)
    with systemd_units.connect(places, f"make the systemd scope {name}") as units:
        unit = Unit(name, slice_name, units.place, units.version(), below)
        base = units.manager_property("ControlGroup").removesuffix("/init.scope").rstrip("/")
    inside = f"{base}{expand_slice(name) if name.endswith('.slice') else f'{inside}/{name}'}"
    found = select.hierarchies()
    tail = f"{inside}/{below}" if below else inside
    paths = {
        controller: hierarchy.mountpoint.rstrip("/") + tail
        for hierarchy in found
        for controller in hierarchy.controllers
    }
    return _make(select.layout(found), paths, found, unit, container_id, properties, rootless)


def from_record(record: dict[str, Any]) -> Scope:
    """See ``select.from_record``."""
    unit = None
    if record.get("unit"):
        name, slice_name, place, version, below = record["unit"]
        unit = Unit(name, slice_name, (place[0], place[1]), version, below)
    layout, paths, rootless = record["layout"], record["paths"], record["rootless"]
    return _make(layout, paths, [], unit, record["container_id"], [], rootless)


def _make(
    layout: str,
    paths: dict[str, str],
    found: list[Hierarchy],
    unit: Unit | None,
    container_id: str,
    properties: list[Property],
    rootless: bool,
) -> Scope:
    kind = ScopeV2 if layout == "v2" else ScopeV1
    made = kind(layout, paths, found, rootless=rootless)
    made.unit = unit
    made.container_id = container_id
    made.properties = properties
    return made


def names(cgroups_path: str, container_id: str, *, user: bool) -> tuple[str, str]:
    """The unit and its slice, by the rules of runc.

    ``slice:prefix:name`` is the scope ``prefix-name.scope`` in the slice; a name that ends in
    ``.slice`` is a slice itself. Without a slice it is ``system.slice``, or a user's
    ``user.slice``.

    Raises:
        ConfigError: ``cgroups_path`` is not of this form.
    """
    slice_name, prefix, name = "", "pyrun", container_id
    if cgroups_path:
        parts = cgroups_path.split(":")
        if len(parts) != 3 or not parts[2]:
            problem = f"{cgroups_path!r} must be slice:prefix:name for --cgroup-manager systemd"
            raise ConfigError(POINTER, problem)
        slice_name, prefix, name = parts
    slice_name = slice_name or ("user.slice" if user else "system.slice")
    expand_slice(slice_name)
    if name.endswith(".slice"):
        expand_slice(name)
        return name, slice_name
    unit = "".join(map(_escaped, f"{prefix}-{name}")) + ".scope"
    if len(unit) > UNIT_NAME_LIMIT:
        problem = f"the unit name {unit} is longer than systemd's {UNIT_NAME_LIMIT} characters"
        raise ConfigError(POINTER, problem)
    return unit, slice_name


def _escaped(char: str) -> str:
    r"""As systemd-escape(1) does; ``+`` is ``\x2b``."""
    if char in _UNIT_CHARS:
        return char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def expand_slice(name: str) -> str:
    """The path of a slice: ``/a.slice/a-b.slice`` of ``a-b.slice`` (systemd.slice(5)).

    Raises:
        ConfigError: it is not the name of a slice.
    """
    parts = name.removesuffix(".slice").split("-")
    if name == "-.slice":
        return ""
    if not name.endswith(".slice") or "/" in name or not all(parts):
        raise ConfigError(POINTER, f"{name!r} is not the name of a slice, such as machine.slice")
    return "".join(f"/{'-'.join(parts[:end])}.slice" for end in range(1, len(parts) + 1))
