"""Intents: what is under way, so that the next command can finish it or roll it back.

An operation of several steps first writes an intent row, and removes it in the transaction that
makes its result visible. Between the two, ``SIGKILL`` or a full disk may stop it anywhere: the
row stays, its owner's lock is freed by the kernel, and the next command's ``Engine.recover``
hands it to the handler of its kind.

An owner is a lock file held for the process's life rather than a pid: a pid says nothing about
a process of another pid namespace, and taking the dead owner's lock makes its taker the only one
who recovers it.
"""

from __future__ import annotations

import os
import time

from pyengine import jsontext, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from pyengine.database.connection import Database


class Intent:
    """One row.

    Attributes:
        kind: tells who recovers it (``RECOVERY`` in ``engine.py``).
        object: the id of what is being changed.
        data: what recovery needs to know; JSON types only.
    """

    __slots__ = ("_owner", "_owner_fd", "_store", "data", "id", "kind", "object")

    def __init__(
        self, store: Intents, row_id: int, kind: str, obj: str, owner: str, data: dict[str, Any]
    ) -> None:
        self._store = store
        self.id = row_id
        self.kind = kind
        self.object = obj
        self.data = data
        self._owner = owner
        self._owner_fd: int | None = None

    def update(self, data: dict[str, Any], connection: sqlite3.Connection | None = None) -> None:
        """Replace ``data``, in the caller's transaction if given."""
        self.data = data
        change = ("UPDATE intents SET data = ? WHERE id = ?", (jsontext.dumps(data), self.id))
        if connection is not None:
            connection.execute(*change)
            return
        with self._store.database.write() as own:
            own.execute(*change)

    def finish(self, connection: sqlite3.Connection | None = None) -> None:
        """Remove the row: in the caller's transaction, which makes the result visible, or alone."""
        removal = ("DELETE FROM intents WHERE id = ?", (self.id,))
        if connection is not None:
            connection.execute(*removal)
            return
        with self._store.database.write(frees_space=True) as own:
            own.execute(*removal)
        self._store.release(self)


class Intents:
    """The table ``intents`` and the owners' lock files."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._owner: str | None = None
        self._owner_fd: int | None = None

    def begin(
        self,
        kind: str,
        obj: str,
        data: dict[str, Any],
        connection: sqlite3.Connection | None = None,
    ) -> Intent:
        """Write an intent, in the caller's transaction if given."""
        owner = self._own()
        values = (kind, obj, owner, os.getpid(), time.time(), jsontext.dumps(data))
        insert = (
            "INSERT INTO intents (kind, object, owner, owner_pid, started_at, data)"
            " VALUES (?, ?, ?, ?, ?, ?)"
        )
        if connection is not None:
            row_id = connection.execute(insert, values).lastrowid
        else:
            with self.database.write() as own:
                row_id = own.execute(insert, values).lastrowid
        assert row_id is not None
        return Intent(self, row_id, kind, obj, owner, data)

    def running(
        self, kind: str, obj: str, data: dict[str, Any], roll_back: Callable[[Intent], None]
    ) -> Guard:
        """An intent around the block, which ends with ``intent.finish(connection)``.

        When the block raises, ``roll_back(intent)`` runs and the row goes. If that fails too,
        the row stays for the next command, and the first error is the one that is raised.
        """
        return Guard(self.begin(kind, obj, data), roll_back)

    def take_dead(self) -> list[Intent]:
        """The intents of owners that no longer live, now ours alone to recover.

        Each must be recovered and then ``finish``ed.
        """
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT id, kind, object, owner, data FROM intents ORDER BY id"
            ).fetchall()
        taken: dict[str, int | None] = {}
        dead = []
        for row_id, kind, obj, owner, data in rows:
            if owner == self._owner:
                continue
            if owner not in taken:
                taken[owner] = self.database.locks.acquire(owner, wait=False)
            if taken[owner] is None:
                continue
            intent = Intent(self, row_id, kind, obj, owner, jsontext.loads(data))
            intent._owner_fd = taken[owner]
            dead.append(intent)
        return self._still_there(dead, taken)

    def _still_there(self, dead: list[Intent], taken: dict[str, int | None]) -> list[Intent]:
        """Drop what another process recovered between our look and our lock."""
        if not dead:
            return []
        with self.database.read() as connection:
            present = {row[0] for row in connection.execute("SELECT id FROM intents")}
        remaining = [intent for intent in dead if intent.id in present]
        needed = {intent._owner for intent in remaining}
        for owner, fd in taken.items():
            if fd is not None and owner not in needed:
                self.database.locks.release(owner, fd, remove=True)
        return remaining

    def release(self, intent: Intent) -> None:
        """Remove a dead owner's lock file with its last intent."""
        if intent._owner_fd is None:
            return
        with self.database.read() as connection:
            left = connection.execute(
                "SELECT 1 FROM intents WHERE owner = ? LIMIT 1", (intent._owner,)
            ).fetchone()
        if left is None:
            self.database.locks.release(intent._owner, intent._owner_fd, remove=True)

    def close(self) -> None:
        """Remove our own lock file; a process that ends without this leaves an empty file."""
        if self._owner is not None and self._owner_fd is not None:
            self.database.locks.release(self._owner, self._owner_fd, remove=True)
            self._owner = self._owner_fd = None

    def _own(self) -> str:
        """Our owner name, with its lock held until the process ends."""
        if self._owner is None:
            self._owner = f"owner-{os.urandom(8).hex()}"
            self._owner_fd = self.database.locks.acquire(self._owner, wait=True)
        return self._owner


class Guard:
    """A block that an intent covers."""

    __slots__ = ("_intent", "_roll_back")

    def __init__(self, intent: Intent, roll_back: Callable[[Intent], None]) -> None:
        self._intent, self._roll_back = intent, roll_back

    def __enter__(self) -> Intent:
        """The intent, which was written before."""
        return self._intent

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Roll back what an exception left half done."""
        if error is None:
            return
        intent = self._intent
        try:
            self._roll_back(intent)
            intent.finish()
        except Exception as problem:  # noqa: BLE001 - the first error must not be replaced
            what = f"{intent.kind} of {intent.object}"
            log.warning(f"roll back {what}: {problem}; the next command tries again")
