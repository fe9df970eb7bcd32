"""A container as the database knows it, and what is true of it now."""

from __future__ import annotations

import os

from pyengine import jsontext
from pyengine.containers.host import Host, start_time
from pyengine.errors import ConflictError, NotFoundError
from pyengine.monitor import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from typing import Any

    from pyengine.database.locks import Hold
    from pyengine.specgen.types import ContainerConfig
    from pyengine.storage.overlay import IdMaps

_COLUMNS = (
    "id name image_id image_name created_at options status boot_id pid pid_start monitor_pid "
    "started_at finished_at exit_code oom_killed error"
)
COLUMNS = _COLUMNS.split()
SELECT = f"SELECT {', '.join(COLUMNS)} FROM containers"
UNKNOWN_EXIT_CODE = 255
START_INTENT = "container-start"
PAUSE_INTENT = "container-pause"
SHORT_ID = 12
ALL_IDS = [[0, 0, 2**32 - 1]]  # a map of each id to itself
LIVE = ("running", "paused", "initialized")


class Container:
    """One row."""

    __slots__ = (
        "_config", "boot_id", "created_at", "error", "exit_code", "finished_at", "id", "image_id",
        "image_name", "monitor_pid", "name", "oom_killed", "options", "pid", "pid_start",
        "started_at", "status",
    )  # fmt: skip

    id: str
    name: str
    image_id: str | None
    image_name: str
    created_at: float
    options: str
    status: str
    boot_id: str | None
    pid: int | None
    pid_start: int | None
    monitor_pid: int | None
    started_at: float | None
    finished_at: float | None
    exit_code: int | None
    oom_killed: int
    error: str

    def __init__(self, row: Iterable[Any]) -> None:
        """``row`` has the columns of ``SELECT``."""
        for column, value in zip(COLUMNS, row, strict=True):
            setattr(self, column, value)
        self._config: ContainerConfig | None = None

    @property
    def config(self) -> ContainerConfig:
        """What it was created with."""
        if self._config is None:
            self._config = jsontext.loads(self.options)
        return self._config

    @property
    def running(self) -> bool:
        """Whether its program runs, even if it is paused just now."""
        return self.status in ("running", "paused")

    @property
    def live(self) -> bool:
        """Whether it has a process: its program, or what waits to become it after ``init``."""
        return self.status in LIVE


def new(id_: str, name: str, config: ContainerConfig, created_at: float) -> Container:
    """A container that is not in the database yet."""
    row = (
        id_, name, config["image_id"] or None, config["image"], created_at, jsontext.dumps(config),
        "created", None, None, None, None, None, None, None, 0, "",
    )  # fmt: skip
    return Container(row)


def insert(connection: sqlite3.Connection, container: Container) -> None:
    """Add the row."""
    marks = ", ".join("?" * len(COLUMNS))
    connection.execute(
        f"INSERT INTO containers ({', '.join(COLUMNS)}) VALUES ({marks})",
        [getattr(container, column) for column in COLUMNS],
    )


def update(connection: sqlite3.Connection, container: Container, **changes: object) -> None:
    """Change columns of the row and of the object."""
    for column, value in changes.items():
        setattr(container, column, value)
    assignments = ", ".join(f"{column} = ?" for column in changes)
    connection.execute(
        f"UPDATE containers SET {assignments} WHERE id = ?", [*changes.values(), container.id]
    )


def name_taken(host: Host, name: str) -> ConflictError:
    """The error of somebody who wants a name that another container has."""
    with host.database.read() as connection:
        row = connection.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
    owner = f"by {row[0]}" if row else "by a container that is being removed"
    return ConflictError(
        f'creating container storage: the container name "{name}" is already in use {owner}. You'
        " have to remove that container to be able to reuse that name: that name is already in use"
    )


def find(host: Host, name_or_id: str) -> Container:
    """The container of this name, id or beginning of an id, as it is now.

    Raises:
        NotFoundError: there is none.
        ConflictError: several ids begin like that.
    """
    name_or_id = name_or_id.encode("utf-8", "replace").decode()  # no name has what is not UTF-8
    with host.database.read() as connection:
        rows = connection.execute(  # an id wins over a container that was given it as a name
            f"{SELECT} WHERE name = ? OR id = ? ORDER BY id = ? DESC LIMIT 1", (name_or_id,) * 3
        ).fetchall()
        if not rows and name_or_id and not set(name_or_id) - set("0123456789abcdef"):
            rows = connection.execute(
                f"{SELECT} WHERE id >= ? AND id < ? LIMIT 2", (name_or_id, f"{name_or_id}g")
            ).fetchall()
    if not rows:
        raise missing(name_or_id)
    if len(rows) > 1:
        raise ConflictError(
            f"more than one result for container name or ID {name_or_id}: container already exists"
        )
    return observe(host, Container(rows[0]))


def missing(name_or_id: str) -> NotFoundError:
    """The error of somebody who names a container that is not there."""
    return NotFoundError(f'no container with name or ID "{name_or_id}" found: no such container')


def id_maps(container: Container) -> IdMaps | None:
    """The maps of users and groups, where the container's ids are others than the host's."""
    maps = container.config["id_maps"]
    return (maps[0], maps[1]) if maps and maps != [ALL_IDS, ALL_IDS] else None


def mount_label(container: Container) -> str:
    """The SELinux label of the container's files; empty where the kernel has none."""
    return container.config["security"].get("mount_label", "")


def on_host(container: Container, uid: int, gid: int) -> tuple[int, int]:
    """Which ids of the host the container's are.

    Raises:
        StorageError: it has no such id.
    """
    maps = id_maps(container)
    if maps is None:
        return uid, gid
    from pyengine.storage import idmapped

    return idmapped.on_host(maps, uid, gid)


def by_id(host: Host, id_: str) -> Container | None:
    """The row of exactly this id, unobserved."""
    with host.database.read() as connection:
        row = connection.execute(f"{SELECT} WHERE id = ?", (id_,)).fetchone()
    return Container(row) if row else None


def every(host: Host) -> list[Container]:
    """All containers as they are now, oldest first."""
    with host.database.read() as connection:
        rows = connection.execute(f"{SELECT} ORDER BY created_at, id").fetchall()
    return [observe(host, Container(row)) for row in rows]


def abandoned(host: Host) -> list[Container]:
    """Containers that have ended with nobody to clean up after them: their monitor was killed."""
    with host.database.read() as connection:
        rows = connection.execute(f"{SELECT} WHERE status IN {LIVE}").fetchall()
    containers = [Container(row) for row in rows]
    return [
        container
        for container in containers
        if not (container.boot_id == host.boot_id and monitor_lives(container))
        and observe(host, container).status == "exited"
    ]


def latest(host: Host) -> Container:
    """The container created last.

    Raises:
        NotFoundError: there is none.
    """
    with host.database.read() as connection:
        row = connection.execute(f"{SELECT} ORDER BY created_at DESC, id LIMIT 1").fetchone()
    if row is None:
        raise NotFoundError("no containers to operate on: no such container")
    return observe(host, Container(row))


def observe(host: Host, container: Container) -> Container:
    """Correct a row that says running by what is true: boot, exit file, process, monitor.

    Only the object changes. The row follows when somebody cleans up.
    """
    if not container.live:
        return container
    if container.boot_id != host.boot_id:
        return _ended(container, None, "the host was restarted while it ran")
    how = exits.read(host.exit_path(container.id), host.bundle(container.id))
    if how is not None:
        return _ended(container, how, "")
    if container.pid and start_time(container.pid) == container.pid_start:
        return container
    if container.monitor_pid and monitor_lives(container):
        return container  # it is about to write the exit file
    error = "its monitor was killed, so its exit code is unknown"
    if container.config["may_restart"]:
        error += ", and nobody could start it again"
    return _ended(container, None, error)


def still_there(host: Host, lock: Hold, id_: str) -> Container:
    """The container as it is now, under its lock.

    Raises:
        NotFoundError: it was removed meanwhile; our lock file is a new one.
    """
    container = by_id(host, id_)
    if container is None:
        lock.gone = True
        raise missing(id_)
    return observe(host, container)


def monitor_lives(container: Container) -> bool:
    """Whether the monitor (or the exit command that it became) still runs."""
    try:
        with open(f"/proc/{container.monitor_pid}/cmdline", "rb") as file:
            return os.fsencode(container.id) in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _ended(container: Container, how: exits.Exit | None, error: str) -> Container:
    container.status, container.pid = "exited", None
    if how is None:
        container.exit_code, container.error = UNKNOWN_EXIT_CODE, error
        return container
    container.exit_code, container.finished_at = how.code, how.finished_at
    container.oom_killed = int(how.oom_killed)
    return container
