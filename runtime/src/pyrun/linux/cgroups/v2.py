"""cgroup2 alone: one directory has every controller (cgroups(7), "Cgroups version 2")."""

from __future__ import annotations

import errno
import posix
import select
import time

from pyrun import names
from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import manager
from pyrun.linux.cgroups.hierarchy import UNIFIED, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FREEZE_TIMEOUT_S = 10.0
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Manager(manager.Manager):
    """One directory below cgroup2."""

    def _make(self, made: list[str]) -> None:
        directory = self.paths.get(UNIFIED)
        if directory is None:  # it is another user's
            return
        try:
            manager.make_directories(directory, made)
        except OSError as error:
            if self.rootless and error.errno in REFUSED:
                self.paths = {}
                return
            raise KernelError(f"make cgroup {directory}", error) from error
        enable(directory, None)

    def set(
        self,
        resources: dict[str, Any],
        pointer: str = "/linux/resources",
        *,
        creating: bool = False,
    ) -> None:
        """See ``manager.Manager.set``."""
        if set(resources) - {"devices"}:
            self._set_limits(resources, pointer)
        rules = resources.get("devices") or []
        if self.paths and (creating or rules):
            self._set_devices(rules, pointer)

    def _set_limits(self, resources: dict[str, Any], pointer: str) -> None:
        from pyrun.linux.cgroups import limits_v2

        directory = self.paths.get(UNIFIED)
        settings = limits_v2.settings(resources, directory or "", pointer)
        if directory is None:
            for controller, _, _, where in settings:
                raise ConfigError(pointer + where, self._missing(controller))
            return
        available = set(read_file(f"{directory}/cgroup.controllers").split())
        for controller, _, _, where in settings:
            if controller not in available and controller != "cgroup":
                raise ConfigError(pointer + where, self._missing(controller))
        manager.check_before_update(f"{directory}/memory.current", resources, pointer)
        self.write_settings([(UNIFIED, *setting[1:]) for setting in settings], pointer)

    def _missing(self, controller: str) -> str:
        if not self.paths:
            return super()._missing(controller)
        return (
            f"needs the cgroup controller {controller}, which cgroup2 does not have in "
            f"{names.dirname(self.paths[UNIFIED])}"
        )

    def _set_devices(self, rules: list[dict[str, Any]], pointer: str) -> None:
        from pyrun.linux.cgroups import devices, devices_bpf

        allowed = devices.evaluate(rules, f"{pointer}/devices")
        directory = self.paths[UNIFIED]
        try:
            devices_bpf.replace(directory, devices_bpf.program(allowed))
        except OSError as error:
            # Without privileges nobody can load it, and a user namespace gives no device away.
            if self.rootless and error.errno in REFUSED:
                return
            step = f"{pointer}/devices: load the device filter of cgroup {directory}"
            raise KernelError(step, error) from error

    def freeze(self) -> None:
        """See ``manager.Manager.freeze``."""
        self._freezer("1")

    def thaw(self) -> None:
        """See ``manager.Manager.thaw``."""
        self._freezer("0")

    def release(self) -> None:
        """See ``manager.Manager.release``."""
        return

    def _freezer(self, value: str) -> None:
        if not self.paths:
            raise KernelError("freeze the container", "it has no cgroup")
        freeze(self.paths[UNIFIED], value)


def freeze(directory: str, value: str) -> None:
    """Write cgroup.freeze, and return when every process stands still, or goes on.

    Raises:
        KernelError: the kernel refused, or it did not finish in time.
    """
    step = f"write {value} to {directory}/cgroup.freeze"
    try:
        write_file(f"{directory}/cgroup.freeze", value)
        done = wait_for_event(directory, f"frozen {value}", FREEZE_TIMEOUT_S)
        if not done and value == "1":
            write_file(f"{directory}/cgroup.freeze", "0")
    except OSError as error:
        raise KernelError(step, error) from error
    if not done:
        raise KernelError(step, "it did not finish in time")


def wait_for_event(directory: str, line: str, timeout_s: float) -> bool:
    """Whether ``line`` came to be in cgroup.events, which wakes its pollers on a change."""
    deadline = time.monotonic() + timeout_s
    events_fd = posix.open(f"{directory}/cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(events_fd, select.POLLPRI)
        while line not in posix.pread(events_fd, 4096, 0).decode().splitlines():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                return False
        return True
    finally:
        posix.close(events_fd)


def enable(directory: str, controllers: list[str] | None) -> bool:
    """Give ``directory`` controllers from above, as far up as needed.

    Args:
        directory: below a cgroup2 mount.
        controllers: which; None is every one that those above can give.

    Returns:
        Whether ``directory`` has all of them now. What cannot be given is told by the limit that
        needs it, with its place in config.json.
    """
    chain = []
    above = names.dirname(directory)
    while names.exists(f"{above}/cgroup.controllers"):
        chain.append(above)
        above = names.dirname(above)
    for above in reversed(chain):
        _enable_in(above, controllers)
    return controllers is None or set(controllers) <= _words(f"{directory}/cgroup.controllers")


def _enable_in(above: str, controllers: list[str] | None) -> None:
    """Give them to what is right below ``above``."""
    wanted = _words(f"{above}/cgroup.controllers")
    if controllers is not None:
        wanted &= set(controllers)
    missing = wanted - _words(f"{above}/cgroup.subtree_control")
    if missing and _is_populated(above):
        missing = set()  # cpu, pids and others would be taken, and make it a threaded domain
    for name in sorted(missing):
        try:
            write_file(f"{above}/cgroup.subtree_control", f"+{name}")
        except OSError:  # busy with processes of its own, not ours to change, or threaded
            continue
        if _is_populated(above):  # a process came in between
            write_file(f"{above}/cgroup.subtree_control", f"-{name}")


def _is_populated(directory: str) -> bool:
    """Whether a cgroup has processes of its own, and is not the root, which may have both."""
    if not names.exists(f"{directory}/cgroup.type"):
        return False
    try:
        return bool(read_file(f"{directory}/cgroup.procs").strip())
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # threaded already: it has them in its domain
            raise
        return True


def _words(path: str) -> set[str]:
    return set(read_file(path).split())
