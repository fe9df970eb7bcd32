"""A volume as the database knows it."""

from __future__ import annotations

import time

from pyengine import jsontext
from pyengine.errors import ConflictError, NotFoundError
from pyengine.volumes.directories import volume_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pyengine.database.connection import Database

_SELECT = "SELECT name, created_at, anonymous, options, needs_copy_up, needs_chown FROM volumes"


class Volume:
    """One row.

    Attributes:
        name: also its directory's.
        created_at: seconds since the epoch.
        anonymous: made for one container, and removed with it.
        driver: ``local``; there are no others.
        labels: by name.
        options: of the driver: ``type``, ``device`` and ``o`` as of mount(8), ``nocopy``.
        owner: user and group that its directory was made with, where they were given.
        needs_copy_up: whether its first user's image may fill it.
        needs_chown: whether its first user's mount point gives it owner and mode.
    """

    __slots__ = (
        "anonymous", "created_at", "driver", "labels", "name", "needs_chown", "needs_copy_up",
        "options", "owner",
    )  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        """``row`` has the columns of ``_SELECT``."""
        self.name: str = row[0]
        self.created_at: float = row[1]
        self.anonymous = bool(row[2])
        settings = jsontext.loads(row[3])
        self.driver: str = settings.get("driver", "local")
        self.labels: dict[str, str] = settings.get("labels", {})
        self.options: dict[str, str] = settings.get("options", {})
        self.owner: tuple[int | None, int | None] = (settings.get("uid"), settings.get("gid"))
        self.needs_copy_up, self.needs_chown = bool(row[4]), bool(row[5])

    @property
    def is_mounted_for_use(self) -> bool:
        """Whether its directory is a mount point while somebody uses it."""
        return bool(self.options.keys() & {"type", "device"})


def settings(
    driver: str,
    labels: dict[str, str],
    options: dict[str, str],
    owner: tuple[int | None, int | None],
) -> str:
    """The column ``options``."""
    uid, gid = owner
    found = {"driver": driver, "labels": labels, "options": options, "uid": uid, "gid": gid}
    return jsontext.dumps({key: value for key, value in found.items() if value is not None})


def by_name(database: Database, name: str) -> Volume | None:
    """The volume of exactly this name."""
    with database.read() as connection:
        row = connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return Volume(row) if row else None


def find(database: Database, name: str) -> Volume:
    """The volume of this name, or the only one whose name begins like that.

    Raises:
        NotFoundError: there is none.
        ConflictError: several names begin like that.
    """
    name = name.encode("utf-8", "replace").decode()
    with database.read() as connection:
        rows = connection.execute(
            f"{_SELECT} WHERE substr(name, 1, ?) = ? ORDER BY name = ? DESC, name LIMIT 2",
            (len(name), name, name),
        ).fetchall()
    if not name or not rows:
        raise NotFoundError(f'no volume with name "{name}" found: no such volume')
    if len(rows) > 1 and rows[0][0] != name:
        raise ConflictError(f"more than one result for volume name {name}: volume already exists")
    return Volume(rows[0])


def every(database: Database) -> list[Volume]:
    """All volumes by name."""
    with database.read() as connection:
        rows = connection.execute(f"{_SELECT} ORDER BY name").fetchall()
    return [Volume(row) for row in rows]


def users(database: Database) -> dict[str, list[str]]:
    """The ids of the containers of each volume that has some."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT volume, container_id FROM container_volumes ORDER BY volume, container_id"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for name, container_id in rows:
        found.setdefault(name, []).append(container_id)
    return found


def inspect(volume: Volume, root: str, mount_count: int, created: str) -> dict[str, Any]:
    """Everything about a volume, under podman's names; ``created`` is the time to be printed."""
    uid, gid = volume.owner
    return {
        "Name": volume.name,
        "Driver": volume.driver,
        "Mountpoint": volume_path(root, volume.name),
        "CreatedAt": created,
        "Labels": volume.labels,
        "Scope": "local",
        "Options": volume.options,
        "UID": uid or 0,
        "GID": gid or 0,
        "Anonymous": volume.anonymous,
        "MountCount": mount_count,
        "NeedsCopyUp": volume.needs_copy_up,
        "NeedsChown": volume.needs_chown,
    }


def claim(connection: sqlite3.Connection, names: Iterable[str], *, anonymous: bool) -> list[str]:
    """Make rows for those volumes that have none, in the transaction that makes their container.

    Their directories are made at first use. The answer is the names of the new ones.
    """
    query = (
        "INSERT OR IGNORE INTO volumes (name, created_at, anonymous, options)"
        " VALUES (?, ?, ?, '{}')"
    )
    return [
        name for name in names
        if connection.execute(query, (name, time.time(), int(anonymous))).rowcount
    ]  # fmt: skip


def release_anonymous(connection: sqlite3.Connection, container_id: str) -> list[str]:
    """Let a container's anonymous volumes go that no other container uses.

    Their rows are gone then; the files of the names returned are the caller's to remove.
    """
    rows = connection.execute(
        "SELECT volume FROM container_volumes AS mine JOIN volumes ON name = volume"
        " WHERE container_id = ? AND anonymous AND NOT EXISTS (SELECT 1 FROM container_volumes"
        " WHERE volume = mine.volume AND container_id != mine.container_id)",
        (container_id,),
    ).fetchall()
    names = [row[0] for row in rows]
    for name in names:
        connection.execute("DELETE FROM container_volumes WHERE volume = ?", (name,))
        connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
    return names
