"""What every operation on containers needs: the database, directories, and the drivers."""

from __future__ import annotations

import os

from pyengine.config import user
from pyengine.ocirun.call import Runtime
from pyengine.volumes.directories import volume_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.containers.record import Container
    from pyengine.database.connection import Database
    from pyengine.database.locks import Hold
    from pyengine.events.log import Events
    from pyengine.images.store import Images
    from pyengine.specgen.types import ContainerConfig
    from pyengine.storage.store import Storage

    Finder = Callable[[str], str]


class Host:
    """One engine's surroundings; drivers are made when first asked for."""

    def __init__(
        self,
        root: str,
        runroot: str,
        *,
        database: Callable[[], Database],
        storage: Callable[[], Storage],
        events: Callable[[], Events],
        defaults: Callable[[], dict[str, Any]],
        runtime_path: Finder,
        monitor_path: Finder,
        runtime_flags: list[str],
        systemd: bool,
        self_command: list[str],
        notify_socket: str = "",
    ) -> None:
        """``runtime_path`` and ``monitor_path`` take a name, a path or an empty string.

        ``notify_socket`` is where the service manager wants to be told of a start, if anywhere.
        """
        self.root, self.runroot = root, runroot
        self._database, self._storage, self._events = database, storage, events
        self._defaults = defaults
        self.runtime_path, self.monitor_path = runtime_path, monitor_path
        self.runtime_flags, self.systemd = runtime_flags, systemd
        self.self_command = self_command
        self.notify_socket = notify_socket
        self.rootless = user.is_rootless()
        self._boot_id = ""

    @property
    def database(self) -> Database:
        """The database; the first access recovers what dead processes left, perhaps through us."""
        return self._database()

    @property
    def storage(self) -> Storage:
        """The storage driver."""
        return self._storage()

    @property
    def events(self) -> Events:
        """Where events are kept."""
        return self._events()

    @property
    def defaults(self) -> dict[str, Any]:
        """``[containers]`` of containers.conf."""
        return self._defaults()

    @property
    def images(self) -> Images:
        """The images that containers may mount."""
        from pyengine.images.store import Images

        return Images(self.database, self.storage, self._events())

    def tell(
        self,
        container: Container,
        *statuses: str,
        exit_code: int | None = None,
        health: str = "",
        **attributes: str,
    ) -> None:
        """Write an event of a container for each status, in podman's words."""
        self._events().tell(
            "container", *statuses, id_=container.id, name=container.name,
            image=container.image_name, exit_code=exit_code, oom_killed=bool(container.oom_killed),
            health=health,
            attributes={**container.config["labels"], **attributes},
        )  # fmt: skip

    @property
    def boot_id(self) -> str:
        """Changes with each start of the host's kernel."""
        if not self._boot_id:
            with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
                self._boot_id = file.read().strip()
        return self._boot_id

    def runtime(self, wanted: str) -> Runtime:
        """The runtime a container was created with."""
        path, flags = self.runtime_path(wanted), self.runtime_flags
        if self.rootless:  # runtimes choose by other rules, or a directory that is root's
            flags = [f"--root={self.runroot}/{os.path.basename(path)}", *flags]
        return Runtime(path, flags)

    def bundle(self, id_: str) -> str:
        """The run directory of a container: config.json, sockets, pid files."""
        return f"{self.runroot}/containers/{id_}"

    @property
    def exit_dir(self) -> str:
        """Where monitors write exit codes."""
        return f"{self.runroot}/exits"

    def exit_path(self, id_: str) -> str:
        """The exit file of a container."""
        return f"{self.exit_dir}/{id_}"

    def log_path(self, container: Container) -> str:
        """What a container wrote, where its log driver keeps a file."""
        path = container.config["log"].get("path")
        return path or f"{self.root}/containers/{container.id}/ctr.log"

    def checkpoint_dir(self, id_: str) -> str:
        """The images of a container's checkpoint."""
        return f"{self.root}/containers/{id_}/checkpoint"

    def pre_checkpoint_dir(self, id_: str) -> str:
        """What was saved of a container's memory before its checkpoint."""
        return f"{self.root}/containers/{id_}/pre-checkpoint"

    def checkpointed_at(self, id_: str) -> float | None:
        """When a container's checkpoint was made; None without one."""
        try:
            return os.stat(self.checkpoint_dir(id_)).st_mtime
        except FileNotFoundError:
            return None

    def persist_dir(self, id_: str) -> str:
        """What a monitor keeps beyond the container's end and the host's."""
        return f"{self.root}/containers/{id_}/monitor"

    def volume_paths(self, config: ContainerConfig) -> dict[str, str]:
        """The directory of each named volume of a container."""
        names = [volume["name"] for volume in config["volumes"] if volume["name"]]
        return {name: volume_path(self.root, name) for name in names}

    def lock_name(self, id_: str) -> str:
        """The name of a container's lock."""
        return f"container-{id_}"

    def locked(self, id_: str) -> Hold:
        """A block under the container's lock."""
        return self.database.locks.hold(self.lock_name(id_))


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: tells a reused pid (proc(5)).

    None where the process has ended, a zombie included.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def make_directory(path: str) -> None:
    """Make a directory of ours with its parents."""
    os.makedirs(path, mode=0o700, exist_ok=True)
