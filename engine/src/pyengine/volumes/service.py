"""The calls that both faces make on volumes (docs/adr/0024)."""

from __future__ import annotations

import os
import time

from pyengine.database.sqlite import sqlite3
from pyengine.errors import ConfigError, ConflictError, InUseError, NotFoundError, StorageError
from pyengine.specgen.options import is_name
from pyengine.storage import trees
from pyengine.volumes import local, model
from pyengine.volumes.directories import lock_name, volume_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyengine.database.connection import Database
    from pyengine.database.intents import Intent
    from pyengine.events.log import Events
    from pyengine.volumes.model import Volume

    # Removes a container by id, running or not, within so many seconds (None: its own limit).
    RemoveContainer = Callable[[str, int | None], object]

REMOVE_INTENT = "volume-remove"


class Volumes:
    """Volumes of one engine."""

    def __init__(
        self,
        root: str,
        database: Database,
        boot_id: str,
        remove_container: RemoveContainer,
        events: Events,
    ) -> None:
        self.root, self.database, self.boot_id = root, database, boot_id
        self._events = events
        self._remove_container = remove_container

    def create(
        self,
        name: str,
        *,
        driver: str = "local",
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        ignore: bool = False,
        owner: tuple[int | None, int | None] = (None, None),
    ) -> str:
        """Make a volume and return its name.

        Args:
            name: empty for a random one.
            driver: only ``local``.
            labels: by name.
            options: of the driver.
            ignore: that there is one already is no error.
            owner: user and group of its directory; those that a mount option names win.

        Raises:
            ConfigError: the name, the driver or an option is wrong.
            ConflictError: the name is taken.
        """
        name = name or os.urandom(32).hex()
        if not is_name(name):
            raise ConfigError(
                "running volume create option: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*:"
                f' invalid argument: not "{name}"'
            )
        if driver != "local":
            raise ConfigError(
                f"volume {name} uses volume plugin {driver} but it could not be retrieved: no"
                f" volume plugin with name {driver} available: required plugin missing: this"
                " version has the driver local only"
            )
        options = options or {}
        local.check(options)
        uid, gid = local.owner(options)
        uid, gid = owner[0] if uid is None else uid, owner[1] if gid is None else gid
        row = (name, time.time(), model.settings(driver, labels or {}, options, (uid, gid)),
               int(uid is None and gid is None))  # fmt: skip
        with self.database.locks.hold(lock_name(name)):
            self._finish_removals(name)
            try:
                with self.database.write() as connection:
                    connection.execute(
                        "INSERT INTO volumes (name, created_at, anonymous, options, needs_chown)"
                        " VALUES (?, ?, 0, ?, ?)",
                        row,
                    )
            except sqlite3.IntegrityError as error:
                if ignore:
                    return name
                raise ConflictError(
                    f"volume with name {name} already exists: volume already exists"
                ) from error
            path = volume_path(self.root, name)
            try:
                os.makedirs(path, mode=0o755, exist_ok=True)
                if uid is not None or gid is not None:
                    os.chown(path, uid or 0, gid or 0)
            except OSError as error:
                raise StorageError(f"make volume {name}: {error.strerror}") from error
        self._events.tell("volume", "create", name=name)
        return name

    def find(self, name: str) -> Volume:
        """A volume by its name or the beginning of it."""
        return model.find(self.database, name)

    def exists(self, name: str) -> bool:
        """Whether there is a volume of exactly this name."""
        return model.by_name(self.database, name) is not None

    def every(self) -> list[Volume]:
        """All volumes by name."""
        return model.every(self.database)

    def users(self) -> dict[str, list[str]]:
        """The ids of the containers of each volume that has some."""
        return model.users(self.database)

    def inspect(self, volume: Volume, created: str) -> dict[str, Any]:
        """Everything about a volume, under podman's names; ``created`` is the time to print."""
        mounted = local.count(self.database, volume.name, self.boot_id)
        return model.inspect(volume, self.root, mounted, created)

    def remove(self, name: str, *, force: bool = False, timeout_s: int | None = None) -> None:
        """Remove a volume with its content.

        Args:
            name: or the beginning of it.
            force: remove the containers that use it first.
            timeout_s: how long one of them may take to stop.

        Raises:
            NotFoundError: there is none.
            InUseError: a container uses it, and ``force`` is false.
            StorageError: some file cannot be removed; the next command tries again.
        """
        volume = self.find(name)
        while force and (containers := self.users().get(volume.name)):
            for container_id in containers:
                try:
                    self._remove_container(container_id, timeout_s)
                except NotFoundError:
                    continue  # removed meanwhile
        intent = self._remove_row(volume)
        self._events.tell("volume", "remove", name=volume.name)
        self.finish_removal(intent)
        intent.finish()

    def prune(self, names: Iterable[str]) -> Iterator[str]:
        """Remove these volumes unless somebody uses them; the names of those that went."""
        for name in names:
            try:
                self.remove(name)
            except (InUseError, NotFoundError):
                continue  # a container has come for it, or another prune
            self._events.tell("volume", "prune", name=name)
            yield name

    def _remove_row(self, volume: Volume) -> Intent:
        """From here on the volume does not exist any more; its files are the intent's."""
        with self.database.write(durable=True, frees_space=True) as connection:
            rows = connection.execute(
                "SELECT container_id FROM container_volumes WHERE volume = ?", (volume.name,)
            ).fetchall()
            if rows:
                raise InUseError(
                    f"volume {volume.name} is being used by the following container(s):"
                    f" {', '.join(row[0] for row in rows)}: volume is being used"
                )
            removed = connection.execute("DELETE FROM volumes WHERE name = ?", (volume.name,))
            if not removed.rowcount:
                raise NotFoundError(f'no volume with name "{volume.name}" found: no such volume')
            return self.database.intents.begin(REMOVE_INTENT, volume.name, {}, connection)

    def finish_removal(self, intent: Intent) -> None:
        """Remove the files of a volume that has no row any more; can be repeated.

        Raises:
            StorageError: something cannot be removed.
        """
        trash = f"{self.root}/staging/{intent.id}"
        try:
            with self.database.locks.hold(lock_name(intent.object), remove=True):
                self._move_away(intent.object, trash)
            trees.remove_tree(trash)
        except OSError as error:
            raise StorageError(f"remove volume {intent.object}: {error.strerror}") from error

    def _move_away(self, name: str, trash: str) -> None:
        """Under the volume's lock: a volume made anew under this name keeps its files."""
        from pyengine.storage import overlay

        if os.path.exists(trash) or model.by_name(self.database, name) is not None:
            return
        overlay.unmount(volume_path(self.root, name))
        try:
            os.rename(f"{self.root}/volumes/{name}", trash)
        except FileNotFoundError:
            return

    def _finish_removals(self, name: str) -> None:
        """What is left of a removed volume of this name must not become the new one's."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT id FROM intents WHERE kind = ? AND object = ?", (REMOVE_INTENT, name)
            ).fetchall()
        for (intent_id,) in rows:
            self._move_away(name, f"{self.root}/staging/{intent_id}")

    def recover_copy(self, intent: Intent) -> None:
        """Complete or take back what a container's start, which was killed, copied."""
        from pyengine.volumes import first_use

        first_use.recover(self.database, self.root, intent)

    def mount(self, name: str) -> str:
        """Show a volume's content on the host until ``unmount``, and return its path."""
        volume = self.find(name)
        with self.database.locks.hold(lock_name(volume.name)):
            user = f"mount-{os.urandom(8).hex()}"
            return local.attach(self.database, self.root, volume, user, self.boot_id)

    def unmount(self, name: str) -> str:
        """Take one ``mount`` back, and return the volume's name; one too many is no error."""
        volume = self.find(name)
        with self.database.locks.hold(lock_name(volume.name)):
            with self.database.read() as connection:
                row = connection.execute(
                    "SELECT user FROM volume_mounts WHERE volume = ? AND user LIKE 'mount-%'"
                    " LIMIT 1",
                    (volume.name,),
                ).fetchone()
            if row:
                local.detach(self.database, self.root, volume.name, row[0])
        return volume.name
