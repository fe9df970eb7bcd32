"""Secrets: their rows, and the calls that both faces make on them. Drivers keep the data."""

from __future__ import annotations

import os
import time

from pyengine import jsontext
from pyengine.database.sqlite import sqlite3
from pyengine.errors import ConfigError, ConflictError, NotFoundError
from pyengine.secrets import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyengine.database.connection import Database
    from pyengine.database.intents import Intent
    from pyengine.events.log import Events

DATA_INTENT = "secret-data"
MAX_BYTES = 512000
MAX_NAME = 253
ID_LENGTH = 25
_SELECT = "SELECT id, name, created_at, updated_at, driver, driver_options, labels FROM secrets"


class Secret:
    """One row; times are seconds since the epoch."""

    __slots__ = (
        "created_at", "driver", "driver_options", "id", "labels", "name", "updated_at",
    )  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        """``row`` has the columns of ``_SELECT``."""
        self.id: str = row[0]
        self.name: str = row[1]
        self.created_at: float = row[2]
        self.updated_at: float = row[3]
        self.driver: str = row[4]
        self.driver_options: dict[str, str] = jsontext.loads(row[5])
        self.labels: dict[str, str] = jsontext.loads(row[6])


class Secrets:
    """Secrets of one engine."""

    def __init__(self, root: str, database: Database, events: Events | None = None) -> None:
        """Without ``events`` nothing may be created or removed."""
        self.root, self.database, self._events = root, database, events

    def create(
        self,
        name: str,
        data: bytes,
        *,
        driver: str = "file",
        driver_options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        replace: bool = False,
        ignore: bool = False,
    ) -> str:
        """Keep a secret, and return its id.

        Args:
            name: for people.
            data: what is secret.
            driver: who keeps it.
            driver_options: of the driver.
            labels: by name.
            replace: a secret of this name goes away; containers keep their copy of it.
            ignore: a secret of this name stays, and is the answer.

        Raises:
            ConfigError: the name, the size, the driver or an option is wrong.
            ConflictError: the name is taken.
            StorageError: the driver failed.
        """
        _check(name, data)
        old = self._by_name(name)
        if old is not None and ignore:
            return old.id
        if old is not None and not replace:
            raise ConflictError(f"{name}: secret name in use")
        id_ = os.urandom(16).hex()[:ID_LENGTH]
        keeper = drivers.make(self.root, driver, driver_options or {})
        now = time.time()
        row = (id_, name, old.created_at if old else now, now, driver,
               jsontext.dumps(keeper.options), jsontext.dumps(labels or {}))  # fmt: skip
        intent = self.database.intents.begin(DATA_INTENT, id_, _whose(driver, keeper.options))
        try:
            keeper.store(id_, data)
            with self.database.write(durable=True) as connection:
                removal = self._remove_row(connection, old) if old is not None else None
                connection.execute("INSERT INTO secrets VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                intent.finish(connection)
        except BaseException as error:
            keeper.remove(id_)
            intent.finish()
            if isinstance(error, sqlite3.IntegrityError):
                raise ConflictError(f"{name}: secret name in use") from error
            raise
        if old is not None and removal is not None:
            self._keeper(old).remove(old.id)
            removal.finish()
            self._tell("remove", old.id, name)
        self._tell("create", id_, name)
        return id_

    def find(self, name_or_id: str) -> Secret:
        """A secret by its name, id, or beginning of an id.

        Raises:
            NotFoundError: there is none.
            ConflictError: several ids begin like that.
        """
        wanted = name_or_id.encode("utf-8", "replace").decode()
        with self.database.read() as connection:
            rows = connection.execute(
                f"{_SELECT} WHERE name = ? OR id = ? ORDER BY id = ? DESC LIMIT 1", (wanted,) * 3
            ).fetchall()
            if not rows and wanted:
                rows = connection.execute(
                    f"{_SELECT} WHERE substr(id, 1, ?) = ? LIMIT 2", (len(wanted), wanted)
                ).fetchall()
        if not rows:
            raise NotFoundError(f'no secret with name or id "{name_or_id}": no such secret')
        if len(rows) > 1:
            raise ConflictError(f"more than one result secret with prefix {name_or_id}")
        return Secret(rows[0])

    def every(self) -> list[Secret]:
        """All secrets, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(f"{_SELECT} ORDER BY created_at, id").fetchall()
        return [Secret(row) for row in rows]

    def data(self, secret: Secret) -> bytes:
        """What is secret.

        Raises:
            StorageError: the driver failed.
        """
        return self._keeper(secret).load(secret.id)

    def remove(self, name_or_id: str) -> str:
        """Remove a secret and return its id; containers keep their copy of it."""
        secret = self.find(name_or_id)
        with self.database.write(durable=True, frees_space=True) as connection:
            intent = self._remove_row(connection, secret)
        self._keeper(secret).remove(secret.id)
        intent.finish()
        self._tell("remove", secret.id, secret.name)
        return secret.id

    def _tell(self, what: str, id_: str, name: str) -> None:
        assert self._events is not None
        self._events.tell("secret", what, id_=id_, name=name)

    def _remove_row(self, connection: sqlite3.Connection, secret: Secret) -> Intent:
        """The data is the intent's from here on."""
        connection.execute("DELETE FROM secrets WHERE id = ?", (secret.id,))
        whose = _whose(secret.driver, secret.driver_options)
        return self.database.intents.begin(DATA_INTENT, secret.id, whose, connection)

    def recover(self, intent: Intent) -> None:
        """Remove the data of a secret that has no row: its creation or removal was killed."""
        with self.database.read() as connection:
            row = connection.execute("SELECT 1 FROM secrets WHERE id = ?", (intent.object,))
            if row.fetchone():
                return
        keeper = drivers.make(self.root, intent.data["driver"], intent.data["options"])
        keeper.remove(intent.object)

    def _by_name(self, name: str) -> Secret | None:
        with self.database.read() as connection:
            row = connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
        return Secret(row) if row else None

    def _keeper(self, secret: Secret) -> drivers.Driver:
        return drivers.make(self.root, secret.driver, secret.driver_options)


def _whose(driver: str, options: dict[str, str]) -> dict[str, Any]:
    return {"driver": driver, "options": options}


def _check(name: str, data: bytes) -> None:
    if not 0 < len(name) <= MAX_NAME or set(name) & set(",/=\0"):
        raise ConfigError(
            f"secret name {name[:MAX_NAME]!r} can not include '=', '/', ',', or the NULL ('\\0')"
            f" and must be between 1 and {MAX_NAME} characters: invalid secret name"
        )
    if not 0 < len(data) < MAX_BYTES:
        raise ConfigError(
            f"secret data must be larger than 0 and less than {MAX_BYTES} bytes:"
            f" {name} has {len(data)}"
        )
