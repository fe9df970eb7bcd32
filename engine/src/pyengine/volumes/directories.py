"""Named volumes: one directory each, made when a container first asks for the name."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.database.connection import Database


def volume_path(root: str, name: str) -> str:
    """The directory that is mounted into containers."""
    return f"{root}/volumes/{name}/_data"


def ensure(database: Database, root: str, names: list[str]) -> None:
    """Make the volumes of these names that do not exist yet: directory first, then the row."""
    if not names:
        return
    for name in names:
        os.makedirs(volume_path(root, name), mode=0o755, exist_ok=True)
    with database.write() as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO volumes VALUES (?, ?, 0, '{}')",
            [(name, time.time()) for name in names],
        )
