"""The v1 hierarchies, alone or beside a cgroup2 that has the rest of the controllers (hybrid)."""

from __future__ import annotations

import errno
import time

from pyrun import names
from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import manager
from pyrun.linux.cgroups.hierarchy import UNIFIED, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FREEZE_TIMEOUT_S = 10.0
_UNLIMITED_BYTES = 1 << 62  # what is above is the kernel's word for no limit


class Manager(manager.Manager):
    """A directory in each v1 hierarchy, and one in cgroup2 where there is one."""

    def _make(self, made: list[str]) -> None:
        for directory in self.directories():
            try:
                manager.make_directories(directory, made)
            except OSError as error:
                if self.rootless and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                    self._forget(directory)
                    continue
                raise KernelError(f"make cgroup {directory}", error) from error
        cpuset = self.paths.get("cpuset")
        if cpuset:
            _inherit_cpuset(cpuset)

    def _forget(self, directory: str) -> None:
        self.paths = {name: path for name, path in self.paths.items() if path != directory}

    def entered(self) -> list[str]:
        """See ``manager.Manager.entered``."""
        return [path for path in self.directories() if path != self.paths.get(UNIFIED)]

    def set(
        self,
        resources: dict[str, Any],
        pointer: str = "/linux/resources",
        *,
        creating: bool = False,
    ) -> None:
        """See ``manager.Manager.set``."""
        if set(resources) - {"devices"}:
            from pyrun.linux.cgroups import limits_v1

            settings = limits_v1.settings(resources, self.paths.get("hugetlb", ""))
            if "memory" in self.paths:
                usage = f"{self.paths['memory']}/memory.usage_in_bytes"
                manager.check_before_update(usage, resources, pointer)
            if UNIFIED in self.paths:
                settings = self._with_unified(settings, resources, pointer)
            elif resources.get("unified"):
                raise ConfigError(f"{pointer}/unified", "needs cgroup2, which is not mounted here")
            self.write_settings(settings, pointer)
        if creating or resources.get("devices"):
            self._set_devices(resources.get("devices") or [], pointer)

    def unheard(self, resources: dict[str, Any], pointer: str = "/linux/resources") -> list[str]:
        """See ``manager.Manager.unheard``: kernels since 5.16 have no limit of kernel memory."""
        found = super().unheard(resources, pointer)
        wanted = (resources.get("memory") or {}).get("kernel") or 0
        if wanted <= 0 or "memory" not in self.paths:
            return found
        kept = int(read_file(f"{self.paths['memory']}/memory.kmem.limit_in_bytes"))
        if kept < _UNLIMITED_BYTES:
            return found
        return [*found, f"{pointer}/memory/kernel: this kernel counts it in memory/limit alone"]

    def _with_unified(
        self, settings: list[manager.Setting], resources: dict[str, Any], pointer: str
    ) -> list[manager.Setting]:
        """On a hybrid host, cgroup2 may have what no v1 hierarchy has (hugetlb, rdma)."""
        from pyrun.linux.cgroups import limits_v2, v2

        lost = {where for controller, *_, where in settings if controller not in self.paths}
        sections = {where.split("/")[1] for where in lost} - {"network"}  # v1 alone has it
        if resources.get("unified"):
            sections.add("unified")
        if not sections:
            return settings
        directory = self.paths[UNIFIED]
        kept = [setting for setting in settings if setting[3] not in lost]
        wanted = {name: resources[name] for name in sections}
        for controller, name, value, where in limits_v2.settings(wanted, directory, pointer):
            if where not in lost and not where.startswith("/unified/"):
                continue
            if controller != "cgroup" and not v2.enable(directory, [controller]):
                raise ConfigError(pointer + where, self._missing(controller))
            kept.append((UNIFIED, name, value, where))
        moved = {setting[3] for setting in kept}
        return kept + [setting for setting in settings if setting[3] in lost - moved]

    def _set_devices(self, rules: list[dict[str, Any]], pointer: str) -> None:
        from pyrun.linux.cgroups import devices

        allowed = devices.evaluate(rules, f"{pointer}/devices")
        directory = self.paths.get("devices")
        if directory is None:
            if self.rootless:  # a user namespace gives no device away, so none has to be denied
                return
            raise ConfigError(f"{pointer}/devices", self._missing("devices"))
        now = read_file(f"{directory}/devices.list").split()
        for name, line in devices.v1_lines(allowed, allows_all=now[:2] == ["a", "*:*"]):
            try:
                write_file(f"{directory}/{name}", line)
            except OSError as error:
                step = f"{pointer}/devices: write {line!r} to {directory}/{name}"
                raise KernelError(step, error) from error

    def freeze(self) -> None:
        """See ``manager.Manager.freeze``."""
        self._freezer("FROZEN")

    def thaw(self) -> None:
        """See ``manager.Manager.thaw``."""
        self._freezer("THAWED")

    def release(self) -> None:
        """See ``manager.Manager.release``; a container can freeze cgroups below its own."""
        directory = self.paths.get("freezer")
        if directory is None or not names.exists(directory):
            return
        from pyrun.linux.cgroups import trees

        try:
            self.thaw()
            trees.thaw(directory)
        except KernelError as error:
            if error.errno != errno.ENOENT:  # somebody else removed it: nothing is in it
                raise
        except OSError as error:
            raise KernelError(f"thaw the cgroups below {directory}", error) from error

    def _freezer(self, state: str) -> None:
        directory = self.paths.get("freezer")
        if directory is None and UNIFIED in self.paths:  # every process is in cgroup2 as well
            from pyrun.linux.cgroups import v2

            v2.freeze(self.paths[UNIFIED], "1" if state == "FROZEN" else "0")
            return
        if directory is None:
            raise KernelError("freeze the container", self._missing("freezer"))
        path = f"{directory}/freezer.state"
        deadline = time.monotonic() + FREEZE_TIMEOUT_S
        pause_s = 0.001
        try:
            while True:
                write_file(path, state)
                # FREEZING stays until each task has stopped; a fork meanwhile needs a new write
                if read_file(path).strip() == state:
                    return
                if time.monotonic() > deadline:
                    write_file(path, "THAWED")
                    raise KernelError(f"write {state} to {path}", "it did not finish in time")
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.05)
        except OSError as error:
            raise KernelError(f"write {state} to {path}", error) from error


def _inherit_cpuset(directory: str) -> None:
    """A new cpuset is empty and takes no process: give it what the one above has (cpuset(7))."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        empty = []
        while not (value := read_file(f"{directory}/{name}").strip()):
            empty.append(directory)
            directory = names.dirname(directory)
        for below in reversed(empty):
            try:
                write_file(f"{below}/{name}", value)
            except OSError as error:
                raise KernelError(f"write {below}/{name}", error) from error
        directory = empty[0] if empty else directory
