from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pyengine.database import schema
from pyengine.database.connection import Database
from pyengine.errors import DatabaseError


def put(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("INSERT INTO facts VALUES (?, 'x')", (key,))


def put_twice(database: Database) -> None:
    with database.write() as connection:
        put(connection, "a")
        put(connection, "a")


def keys(database: Database) -> list[str]:
    with database.read() as connection:
        return [row[0] for row in connection.execute("SELECT key FROM facts ORDER BY key")]


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    with pytest.raises(sqlite3.IntegrityError):
        put_twice(database)
    assert keys(database) == []


def test_what_is_written_is_seen_by_another_connection(tmp_path: Path) -> None:
    first, second = Database(str(tmp_path)), Database(str(tmp_path))
    with first.write(durable=True) as connection:
        put(connection, "a")
    assert keys(second) == ["a"]


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    first, second = Database(str(tmp_path)), Database(str(tmp_path))
    with first.write() as connection:
        put(connection, "a")
        assert keys(second) == []


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    Database(str(tmp_path))
    with sqlite3.connect(tmp_path / "pyengine.db") as connection:
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(DatabaseError, match="newer than this program"):
        Database(str(tmp_path))


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyengine.db").write_text("no database at all" * 100)
    with pytest.raises(DatabaseError, match=r"pyengine\.db: file is not a database"):
        Database(str(tmp_path))


def test_foreign_keys_hold(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO names VALUES ('x:latest', 'no such image')")
