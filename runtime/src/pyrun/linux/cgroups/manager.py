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

    def require_unused(self) -> None:
        """Refuse a cgroup that is somebody else's; from then on ``delete`` leaves it alone.

        Raises:
            KernelError: it has processes.
        """
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
                place = find_process(directory, beside) if inner else ""
                if not place:
                    raise KernelError(f"move process {pid} to cgroup {target}", error) from error
                write_file(f"{place}/cgroup.procs", str(pid))

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
        return sorted(tree_procs(directory)) if directory else []

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
    def is_frozen(self) -> bool:
        """Whether the container is paused."""

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
            if self.is_frozen():
                self.thaw()
            self.kill_all(SIGKILL)
            _wait_for_exit(left, deadline)
        for directory in self.directories():
            _remove_tree(directory, deadline)

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
    for _ in range(10):
        try:
            posix.mkdir(directory, 0o755)
        except FileExistsError:
            return
        except FileNotFoundError:
            make_directories(names.dirname(directory), made)
        else:
            made.append(directory)
            return
    posix.mkdir(directory, 0o755)


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


def tree_procs(directory: str) -> set[int]:
    """The processes of a cgroup and of those below it; empty when it is gone."""
    try:
        found = {int(word) for word in read_file(f"{directory}/cgroup.procs").split()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        # ENODEV: it was removed meanwhile; EOPNOTSUPP: a threaded cgroup lists them in its domain
        if error.errno not in (errno.ENODEV, errno.EOPNOTSUPP):
            raise KernelError(f"read {directory}/cgroup.procs", error) from error
        found = set()
    for name in _children(directory):
        found |= tree_procs(f"{directory}/{name}")
    return found


def find_process(directory: str, pid: int) -> str:
    """Which cgroup, this one or one below it, has the process; empty when none has."""
    if str(pid) in read_file(f"{directory}/cgroup.procs").split():
        return directory
    for name in _children(directory):
        found = find_process(f"{directory}/{name}", pid)
        if found:
            return found
    return ""


def _children(directory: str) -> list[str]:
    try:
        with posix.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


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


def _remove_tree(directory: str, deadline: float) -> None:
    """Remove a cgroup and those below it.

    A cgroup stays busy for a moment after its last process ended. cgroup2 tells by cgroup.events;
    v1 tells nobody, so there the next try follows after a growing pause.
    """
    pause_s = 0.001
    while True:
        try:
            posix.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise KernelError(f"remove cgroup {directory}", error) from error
        else:
            return
        below = _children(directory)
        for name in below:
            _remove_tree(f"{directory}/{name}", deadline)
        if not below:
            _wait_until_empty(directory, pause_s)
            pause_s = min(pause_s * 2, 0.1)


def _wait_until_empty(directory: str, pause_s: float) -> None:
    try:
        events_fd = posix.open(f"{directory}/cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # v1
        time.sleep(pause_s)
        return
    try:
        if b"populated 0" not in posix.read(events_fd, 4096):
            poll = select.poll()
            poll.register(events_fd, select.POLLPRI)
            poll.poll(1000)
        else:
            time.sleep(pause_s)  # a dying child cgroup
    finally:
        posix.close(events_fd)


def _rmdir_quietly(path: str) -> None:
    """Undo a mkdir; what cannot be undone must not replace the first error."""
    try:
        posix.rmdir(path)
    except OSError:
        return
