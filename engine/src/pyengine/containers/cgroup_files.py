"""A container's cgroups as files: v1, hybrid and v2 hosts alike."""

from __future__ import annotations

import os

from pyengine.specgen.cgroups import CGROUP_ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.record import Container


class Cgroups:
    """The cgroups of one running container, by controller.

    They are read from its first process rather than computed, because the runtime and systemd have
    the last word; what the container's own processes made below does not count.
    """

    def __init__(self, container: Container, root: str = CGROUP_ROOT, proc: str = "/proc") -> None:
        """``root`` is where the hierarchies are mounted."""
        self._root = root
        self._first = f"{proc}/{container.pid}"
        self._paths: dict[str, str] = {}
        try:
            with open(f"{proc}/{container.pid}/cgroup", encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError:  # it has just ended
            return
        for line in lines:
            _, controllers, path = line.split(":", 2)
            own = _own_part(path, container.id)
            if own:
                self._paths.update(dict.fromkeys(controllers.split(","), own))

    def directory(self, controller: str) -> str | None:
        """Where a controller's files are; None where it has no cgroup of the container."""
        if self.is_v2:
            path = self._paths.get("")
            return f"{self._root}{path}" if path else None
        path = self._paths.get(controller)
        return f"{self._root}/{controller}{path}" if path else None

    @property
    def is_v2(self) -> bool:
        """Whether there is one hierarchy for everything."""
        return os.path.exists(f"{self._root}/cgroup.controllers")

    def text(self, controller: str, name: str) -> str:
        """The content of a file, empty where there is none."""
        directory = self.directory(controller)
        if directory is None:
            return ""
        try:
            with open(f"{directory}/{name}", encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""

    def number(self, controller: str, name: str) -> int | None:
        """The number in a file; None where there is none, or no limit (``max``)."""
        text = self.text(controller, name)
        return int(text) if text.isdecimal() else None

    def table(self, controller: str, name: str) -> dict[str, int]:
        """A file of names and numbers."""
        rows = (line.split() for line in self.text(controller, name).splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}

    def pids(self) -> list[int]:
        """Every process in them, on the host; of the container's without a cgroup too."""
        for controller, path in self._paths.items():
            directory = f"{self._root}/{controller.removeprefix('name=')}{path}"
            if self.is_v2 == (controller == "") and os.path.isdir(directory):
                return sorted(pid for one, _, _ in os.walk(directory) for pid in _members(one))
        return _relatives(self._first)


def _own_part(path: str, id_: str) -> str:
    """Up to the part that names the container; empty where none does."""
    pieces = path.split("/")
    for number, piece in enumerate(pieces):
        if id_ in piece:
            return "/".join(pieces[: number + 1])
    return ""


def _members(directory: str) -> list[int]:
    try:
        with open(f"{directory}/cgroup.procs", encoding="utf-8") as file:
            return [int(line) for line in file]
    except OSError:  # removed meanwhile
        return []


def _relatives(process: str) -> list[int]:
    """The processes of the pid namespace of a /proc/PID, or that one alone where it is ours."""
    wanted = _namespace(process)
    if not wanted:
        return []
    if wanted == _namespace("/proc/self"):
        return [int(os.path.basename(process))]
    return sorted(int(name) for name in os.listdir("/proc")
                  if name.isdecimal() and _namespace(f"/proc/{name}") == wanted)  # fmt: skip


def _namespace(process: str) -> int:
    try:
        return os.stat(f"{process}/ns/pid").st_ino
    except OSError:  # it has just ended, or is somebody else's
        return 0
