"""The database: one SQLite file in WAL mode per storage root (docs/adr/0005)."""

from __future__ import annotations

import os

from pyengine import log
from pyengine.database import schema
from pyengine.database.intents import Intents
from pyengine.database.locks import Locks
from pyengine.database.sqlite import sqlite3
from pyengine.errors import DatabaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

BUSY_TIMEOUT_S = 60.0

# Each command is the first to open the database and reads the whole log, 5 us a page, while
# emptying it costs a few ms once (docs/adr/0038).
LOG_PAGES = 250

# Enough for SQLite to write the pages of a hundred removals to its log.
RESERVE_BYTES = 1 << 20


class Database:
    """A connection of the thread that made it.

    Attributes:
        locks: one flock file per object, for changing that object's state.
        intents: what is under way; written before any operation of several steps.
    """

    def __init__(self, root: str) -> None:
        """Open ``root``'s database, made or migrated when it is new or older.

        Raises:
            DatabaseError: it cannot be opened, or is newer than this program.
        """
        self.path = f"{root}/pyengine.db"
        self.locks = Locks(f"{root}/locks")
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            if self._version() != len(schema.MIGRATIONS):
                self._migrate()
        except sqlite3.Error as error:
            raise DatabaseError(f"open database {self.path}: {error}") from error
        self.intents = Intents(self)

    def read(self) -> Transaction:
        """One consistent view of everything; takes no lock and never waits for writers.

        Raises:
            DatabaseError: the file cannot be read.
        """
        return Transaction(self._connection, self.path, "BEGIN")

    def write(self, *, durable: bool = False, frees_space: bool = False) -> Transaction:
        """A transaction that happens as a whole or, on an exception, not at all.

        Keep it short: other writers wait. Not nestable.

        Args:
            durable: also survives a power cut from the moment it returns. Needed before files
                that the old rows name are removed, and when the user is told of a result;
                without it a power cut (never a kill) may lose the last transactions as a whole.
            frees_space: leads to the removal of files, so on a full disk it may use the reserve.

        Raises:
            DatabaseError: the disk is full, the file cannot be written, or another writer did
                not end within ``BUSY_TIMEOUT_S``.
        """
        if frees_space:
            self._free_reserve()
        return Transaction(self._connection, self.path, "BEGIN IMMEDIATE", durable=durable)

    def keep_reserve(self) -> None:
        """Occupy what a removal will need on a full disk; nothing where there is little space."""
        path = f"{self.path}.reserve"
        if os.path.exists(path) or self._free_bytes() < 4 * RESERVE_BYTES:
            return
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)
        except OSError as error:
            log.debug(f"keep {path}: {error.strerror}")

    def _free_reserve(self) -> None:
        if self._free_bytes() < RESERVE_BYTES:
            try:
                os.unlink(f"{self.path}.reserve")
            except FileNotFoundError:  # another removal was here before us
                return

    def _free_bytes(self) -> int:
        status = os.statvfs(os.path.dirname(self.path))
        return status.f_bavail * status.f_frsize

    def is_swept(self) -> bool:
        """Whether ``set_swept`` was called since the machine was booted."""
        with self.read() as connection:
            row = connection.execute("SELECT value FROM facts WHERE key = 'swept'").fetchone()
        return row is not None and row[0] == _boot_id()

    def set_swept(self) -> None:
        """Note that this boot's first command has looked for what a power cut left."""
        with self.write() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('swept', ?)", (_boot_id(),))
        self.keep_reserve()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """Apply what is missing, under a lock, because two processes may find the file new."""
        with self.locks.hold("database"):
            self._connection.execute("PRAGMA journal_mode = WAL")
            version = self._version()
            if version > len(schema.MIGRATIONS):
                raise DatabaseError(
                    f"open database {self.path}: its version {version} is newer than this "
                    f"program's {len(schema.MIGRATIONS)}; use a newer pyengine"
                )
            for number, script in enumerate(schema.MIGRATIONS[version:], version + 1):
                self._connection.executescript(
                    f"BEGIN IMMEDIATE;{script};PRAGMA user_version = {number};COMMIT;"
                )


class Transaction:
    """A block whose statements happen as a whole, or not at all when it raises.

    A class because importing contextlib takes 7 ms of every command.
    """

    __slots__ = ("_begin", "_connection", "_durable", "_path")

    def __init__(
        self, connection: sqlite3.Connection, path: str, begin: str, *, durable: bool = False
    ) -> None:
        self._connection, self._path = connection, path
        self._begin, self._durable = begin, durable

    def __enter__(self) -> sqlite3.Connection:
        """Begin."""
        try:
            if self._durable:
                self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(self._begin)
        except BaseException as error:
            self._leave()
            self._translate(error)
            raise
        return self._connection

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Commit, or roll back."""
        try:
            if error is None:
                self._connection.execute("COMMIT")
        except BaseException as problem:
            self._translate(problem)
            raise
        finally:
            self._leave()
        self._translate(error)

    def _leave(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if self._durable:
            self._connection.execute("PRAGMA synchronous = NORMAL")

    def _translate(self, error: BaseException | None) -> None:
        # A constraint's meaning is the caller's to tell, such as a name in use.
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
            raise DatabaseError(f"use database {self._path}: {error}") from error


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
