"""Calls the installed pyengine on a storage root of its own, and looks into that root."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any


class EngineRoot:
    """A storage root in a test's own directory."""

    def __init__(self, pyengine: str, directory: Path) -> None:
        self.root = directory / "root"
        self.runroot = directory / "runroot"
        self._pyengine = pyengine

    def argv(self, *arguments: str | Path) -> list[str]:
        options = ["--root", str(self.root), "--runroot", str(self.runroot)]
        return [self._pyengine, *options, *map(str, arguments)]

    def call(
        self, *arguments: str | Path, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        done = subprocess.run(
            self.argv(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def ok(self, *arguments: str | Path, stdin: bytes | None = None) -> str:
        """The output of a command that must succeed."""
        done = self.call(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *arguments: str | Path, status: int = 125, stdin: bytes | None = None) -> str:
        """The message of a command that must fail with a status."""
        done = self.call(*arguments, stdin=stdin)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert errors, done.stderr
        return errors[-1]

    def images(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.ok("images", "--format", "json"))
        return listed

    def files(self) -> set[str]:
        """Blobs, layers and what is left in staging, relative to the root."""
        found = set()
        for directory in ("blobs/sha256", "layers", "staging", "containers"):
            path = self.root / directory
            if path.exists():
                found |= {f"{directory}/{name}" for name in os.listdir(path)}
        return found

    def blob(self, digest: str) -> bytes:
        return (self.root / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.root / "pyengine.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def execute(self, statement: str, *values: object) -> None:
        """Change the database behind the engine's back."""
        connection = sqlite3.connect(self.root / "pyengine.db", timeout=60)
        try:
            with connection:
                connection.execute(statement, values)
        finally:
            connection.close()

    def write_rows(self, change: str) -> None:
        """Change the database as no command would."""
        connection = sqlite3.connect(self.root / "pyengine.db")
        try:
            with connection:
                connection.execute(change)
        finally:
            connection.close()

    def orphans(self) -> set[str]:
        """Files that no row accounts for, rows without a file, and intents."""
        rows = {
            *(f"blobs/sha256/{digest[7:]}" for (digest,) in self.rows("SELECT digest FROM blobs")),
            *(f"layers/{diff_id[7:]}" for (diff_id,) in self.rows("SELECT diff_id FROM layers")),
        }
        containers = {f"containers/{id_}" for (id_,) in self.rows("SELECT id FROM containers")}
        rows |= containers & self.files()  # one that never started has no directory
        intents = {f"intent {kind}" for (kind,) in self.rows("SELECT kind FROM intents")}
        return (self.files() ^ rows) | intents

    def is_empty(self) -> bool:
        """Whether nothing but the empty directories and the database is there."""
        tables = ("images", "layers", "blobs", "names", "intents", "holds")
        rows = sum(self.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables)
        return not self.files() and rows == 0
