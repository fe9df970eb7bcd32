"""What every cgroup driver has in common: the files of one container's cgroup.

The caller's order of work is ``create`` (directories and limits), ``enter`` in the container's
first process and ``join`` in its parent, before it runs anything of the image, and at the end
``delete``. ``record`` goes into state.json, and ``select.from_record`` makes the manager again in a
later command.
"""

from __future__ import annotations

import abc
import errno
import posix
import select
import time

from pyrun import names
from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import hierarchy, places
from pyrun.linux.cgroups.hierarchy import UNIFIED, Hierarchy, read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    # controller, file, value, pointer below the resources
    Setting = tuple[str, str, str, str]

SIGKILL = 9
DELETE_TIMEOUT_S = 10.0
_TRIES = 10


class Manager(abc.ABC):
    """One container's cgroup in every hierarchy; made by ``select``."""

    def __init__(
        self,
        layout: str,
        paths: dict[str, str],
        hierarchies: list[Hierarchy] | None = None,
        *,
        rootless: bool = False,
    ) -> None:
        """See ``select.manager``.

        Args:
            layout: ``v1``, ``hybrid`` or ``v2``.
            paths: controller to absolute directory; ``""`` is the cgroup2 directory.
            hierarchies: those of the host; needed only until the container is created.
            rootless: an unprivileged caller may go without a cgroup while no limit is asked for.
        """
        self.layout = layout
        self.paths = paths
        self.hierarchies = hierarchies or []
        self.rootless = rootless
        self.foreign = False

    def create(self, resources: dict[str, Any], pointer: str = "/linux/resources") -> None:
        """Make the directories and write every limit; undone when one of them is refused.

        Args:
            resources: ``linux.resources`` of config.json, already validated.
            pointer: its place, for messages.

        Raises:
            ConfigError: a limit needs a controller or a file that this host does not have.
            KernelError: a directory or a value was refused, or the cgroup has processes already.
        """
        made: list[str] = []
        self.require_unused()
        try:
            self._make(made)
            self._require_thawed()
            self.set(resources, pointer, creating=True)
            if resources.get("unified"):  # cgroup.freeze is a file like others
                self._require_thawed()
        except BaseException:
            for path in reversed(made):
                _rmdir_quietly(path)
            raise

    def _require_thawed(self) -> None:
        """Refuse a cgroup in which init would stand still (config-linux.md, "Control groups").

        Raises:
            KernelError: it is frozen, or one above it is; ``delete`` leaves it alone then.
        """
        for controller, file in (("freezer", "freezer.state"), (UNIFIED, "cgroup.events")):
            directory = self.paths.get(controller)
            if directory is None:
                continue
            text = read_file(f"{directory}/{file}")
            if text.startswith("FR") or "frozen 1" in text:  # FROZEN, FREEZING
                self.foreign = True
                raise KernelError(f"make cgroup {directory}", "it is frozen, or one above it is")

    def _leave_others(self) -> None:
        """Do without what belongs to another user, whose container may have the same id."""
        self.paths = {
            controller: path
            for controller, path in self.paths.items()
            if not names.exists(path) or posix.access(f"{path}/cgroup.procs", posix.W_OK)
        }

    def require_unused(self) -> None:
        """Refuse a cgroup that is somebody else's; from then on ``delete`` leaves it alone.

        Raises:
            KernelError: it has processes.
        """
        if self.rootless:
            self._leave_others()
        others = self.procs()
        if others:
            self.foreign = True
            step = f"make cgroup {self.process_directory()}"
            raise KernelError(step, f"it has processes already: {_some(others)}")

    @abc.abstractmethod
    def set(
        self,
        resources: dict[str, Any],
        pointer: str = "/linux/resources",
        *,
        creating: bool = False,
    ) -> None:
        """Write the limits that ``resources`` names and leave the others (``update``).

        Device rules are written when ``creating``, or when ``resources`` has any.

        Raises:
            ConfigError: a limit needs a controller or a file that this host does not have.
            KernelError: the kernel refused a value.
        """

    def unheard(self, resources: dict[str, Any], pointer: str = "/linux/resources") -> list[str]:
        """What was taken without a word and has no effect, as warnings."""
        cpu = resources.get("cpu") or {}
        if cpu.get("idle") and cpu.get("shares") and self.paths:
            return [f"{pointer}/cpu/shares: has no effect while cpu/idle is set"]
        return []

    def entered(self) -> list[str]:
        """The directories that a process had better enter by itself."""
        return []

    def enter(self, sub_path: str = "") -> None:
        """Move this process where that is quicker than ``join``; see ``hierarchy.enter``."""
        hierarchy.enter(self.entered(), sub_path)

    def descend(self, sub_paths: dict[str, str]) -> None:
        """Continue with cgroups below the container's in some hierarchies of v1.

        Args:
            sub_paths: by controller (``exec --cgroup CONTROLLER:PATH``).

        Raises:
            KernelError: there is no such controller, or a path leads out of the container's.
        """
        for controller, sub_path in sub_paths.items():
            step = f"join the cgroup {controller}:{sub_path}"
            directory = self.paths.get(controller)
            if directory is None or self.layout == "v2":
                raise KernelError(step, "the container has no v1 cgroup of this controller")
            if ".." in sub_path.split("/"):
                raise KernelError(step, "it is not below the container's")
            for name, path in self.paths.items():  # those that share its hierarchy
                if path == directory:
                    self.paths[name] = hierarchy.below(directory, sub_path)

    def join(
        self,
        pid: int,
        sub_path: str = "",
        beside: int = 0,
        *,
        entered: bool = False,
        cloned: bool = False,
    ) -> None:
        """Move a process in: the container's first one, or one of ``exec``.

        Args:
            pid: as this process sees it; 0 is this process.
            sub_path: a cgroup below the container's (``exec --cgroup``).
            beside: a process of the container; its cgroup is taken where the container's own has
                become an inner node of cgroup2, which can hold no process (systemd inside).
            entered: the process calls ``enter``, so only the rest is to be done.
            cloned: the process was born in the cgroup2 (``clone_fd``).

        Raises:
            KernelError: the kernel refused to move it.
        """
        done = self.entered() if entered else []
        if cloned:
            done.append(self.paths[UNIFIED])
        if ".." in sub_path.split("/"):
            raise KernelError(f"join the cgroup {sub_path}", "it is not below the container's")
        for directory in self.directories():
            if directory in done:
                continue
            target = hierarchy.below(directory, sub_path)
            try:
                write_file(f"{target}/cgroup.procs", str(pid))
            except OSError as error:
                inner = error.errno == errno.EBUSY and beside and not sub_path
                if not inner or not self._join_beside(directory, pid, beside):
                    raise KernelError(f"move process {pid} to cgroup {target}", error) from error

    def _join_beside(self, directory: str, pid: int, beside: int) -> bool:
        from pyrun.linux.cgroups import trees

        try:
            return trees.move_beside(directory, pid, beside)
        except OSError as error:
            step = f"move process {pid} beside process {beside} below cgroup {directory}"
            raise KernelError(step, error) from error

    def clone_path(self) -> str:
        """The cgroup2 directory that a process can be born in; empty where only ``join`` works."""
        return self.paths.get(UNIFIED, "")

    def clone_fd(self, sub_path: str = "") -> int:
        """``clone_path`` as ``hierarchy.clone_fd`` has it; close it."""
        return hierarchy.clone_fd(self.clone_path(), sub_path)

    def directories(self) -> list[str]:
        """Every directory of the container once, whichever controllers share it."""
        return list(dict.fromkeys(self.paths.values()))

    def procs(self) -> list[int]:
        """Every process in the cgroup and below it, as this process sees their ids."""
        directory = self.process_directory()
        if not directory or not names.exists(directory):  # such as before it is made
            return []
        from pyrun.linux.cgroups import trees

        return sorted(trees.procs(directory))

    def process_directory(self) -> str:
        """The directory that tells best which processes there are; empty without a cgroup."""
        return places.of_processes(self.paths)

    def kill_all(self, signal: int = SIGKILL) -> None:
        """Send ``signal`` to every process; SIGKILL leaves none that could fork away.

        Raises:
            KernelError: the kernel refused.
        """
        unified = self.paths.get(UNIFIED)
        if signal == SIGKILL and unified:
            try:
                write_file(f"{unified}/cgroup.kill", "1")
            except FileNotFoundError:  # before Linux 5.14, or the cgroup is gone
                pass
            except OSError as error:
                raise KernelError(f"kill the processes of cgroup {unified}", error) from error
            else:
                return
        seen: set[int] = set()
        while True:  # a process may fork between the reading and the signal
            fresh = set(self.procs()) - seen
            if not fresh:
                return
            seen |= fresh
            for pid in fresh:
                try:
                    posix.kill(pid, signal)
                except ProcessLookupError:
                    pass
                except OSError as error:
                    raise KernelError(f"send signal {signal} to process {pid}", error) from error

    @abc.abstractmethod
    def freeze(self) -> None:
        """Stop every process; returns once all of them stand still (``pause``).

        Raises:
            KernelError: there is no freezer, or it did not finish in time.
        """

    @abc.abstractmethod
    def thaw(self) -> None:
        """Let the processes run again (``resume``)."""

    @abc.abstractmethod
    def release(self) -> None:
        """Let frozen processes die of the SIGKILL that they got; those of cgroup2 do at once.

        Raises:
            KernelError: the kernel refused.
        """

    def delete(self) -> None:
        """Kill what is left, wait until it is gone, and remove the directories.

        Raises:
            KernelError: a process did not die or a directory stayed busy for ten seconds.
        """
        if self.foreign:
            return
        deadline = time.monotonic() + DELETE_TIMEOUT_S
        left = self.procs()
        if left:
            self.kill_all(SIGKILL)
            self.release()
            _wait_for_exit(left, deadline)
        from pyrun.linux.cgroups import trees

        for directory in self.directories():
            trees.remove(directory, deadline)

    def record(self) -> dict[str, Any]:
        """What state.json keeps for ``select.from_record``."""
        return {
            "driver": "cgroupfs",
            "layout": self.layout,
            "paths": {} if self.foreign else self.paths,
            "rootless": self.rootless,
        }

    @abc.abstractmethod
    def _make(self, made: list[str]) -> None:
        """Make the directories, adding each new one to ``made``."""

    def _missing(self, controller: str) -> str:
        """Why there is no ``controller``, for a message."""
        if self.rootless:
            return f"needs the cgroup controller {controller}, and this user may not make cgroups"
        return f"needs the cgroup controller {controller}, which is not mounted on this host"

    def write_settings(self, settings: Iterable[Setting], pointer: str) -> None:
        """Write limits; one refused with EINVAL or EBUSY is tried again after the others.

        Some limits are valid only in a certain order (memory and memory+swap, quota and period),
        which depends on the old values.

        Raises:
            ConfigError: a controller or a file is missing.
            KernelError: the kernel refused a value.
        """
        pending = list(settings)
        for controller, _, _, where in pending:
            if controller not in self.paths:
                raise ConfigError(pointer + where, self._missing(controller))
        while pending:
            refused = []
            first: KernelError | None = None
            for setting in pending:
                controller, name, value, where = setting
                path = f"{self.paths[controller]}/{name}"
                try:
                    write_file(path, value)
                except FileNotFoundError as error:
                    whose = f"the cgroup controller {controller}" if controller else "cgroup2"
                    problem = f"needs the file {name} of {whose}, which this kernel does not have"
                    raise ConfigError(pointer + where, problem) from error
                except OSError as error:
                    failure = KernelError(f"{pointer}{where}: write {value} to {path}", error)
                    if error.errno not in (errno.EINVAL, errno.EBUSY):
                        raise failure from error
                    first = first or failure
                    refused.append(setting)
            if first and len(refused) == len(pending):
                raise first
            pending = refused


def _some(pids: list[int]) -> str:
    return ", ".join(map(str, pids[:5])) + (" and more" if len(pids) > 5 else "")


def make_directories(directory: str, made: list[str]) -> None:
    """Make a directory with its parents; a parent may vanish meanwhile with another container."""
    tries = directory.count("/") + _TRIES
    missing = [directory]
    while missing:
        try:
            posix.mkdir(missing[-1], 0o755)
        except FileExistsError:
            pass
        except FileNotFoundError:
            tries -= 1
            if not tries:
                raise
            missing.append(names.dirname(missing[-1]))
            continue
        else:
            made.append(missing[-1])
        missing.pop()


def check_before_update(usage_path: str, resources: dict[str, Any], pointer: str) -> None:
    """``memory.checkBeforeUpdate``: refuse a limit below what is used now."""
    memory = resources.get("memory") or {}
    limit = memory.get("limit") or 0
    if not (memory.get("checkBeforeUpdate") and limit > 0):
        return
    used = int(read_file(usage_path))
    if used > limit:
        problem = f"{limit} is below the {used} bytes that the container uses (checkBeforeUpdate)"
        raise ConfigError(f"{pointer}/memory/limit", problem)


def own_paths(text: str) -> dict[tuple[str, ...], str]:
    """The lines of /proc/PID/cgroup: controllers, ``("",)`` for cgroup2, to a path (cgroups(7))."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found[tuple(controllers.split(","))] = path
    return found


def _wait_for_exit(pids: list[int], deadline: float) -> None:
    """Return when all of ``pids`` have ended; a pidfd tells."""
    for pid in pids:
        try:
            pid_fd = posix.pidfd_open(pid)
        except OSError:  # gone already
            continue
        try:
            poll = select.poll()
            poll.register(pid_fd, select.POLLIN)
            if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
                raise KernelError(f"end process {pid}", "it did not die of SIGKILL")
        finally:
            posix.close(pid_fd)


def _rmdir_quietly(path: str) -> None:
    """Undo a mkdir; what cannot be undone must not replace the first error."""
    try:
        posix.rmdir(path)
    except OSError:
        return
