"""SQLite comes without functools, and leaves the real one to those who want it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyengine

PACKAGES = str(Path(pyengine.__path__[0]).parent)
USE = "connection = sqlite3.connect(':memory:'); print(connection.execute('SELECT 1').fetchone())"


def python(*lines: str) -> str:
    program = "\n".join(("import sys", f"sys.path[:0] = [{PACKAGES!r}]", *lines))
    command = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.check_output(command, text=True, timeout=60)


def test_sqlite_works_without_functools_which_can_be_imported_later() -> None:
    said = python(
        "from pyengine.database.sqlite import sqlite3", USE,
        "print('functools' in sys.modules, 'collections' in sys.modules)",
        "import functools; print(functools.partial(int, '7')())",
    )  # fmt: skip
    assert said.splitlines() == ["(1,)", "False False", "7"]


def test_a_functools_that_is_loaded_is_used_and_stays() -> None:
    said = python(
        "import functools", "from pyengine.database.sqlite import sqlite3", USE,
        "print(sys.modules['functools'] is functools)",
    )  # fmt: skip
    assert said.splitlines() == ["(1,)", "True"]


def test_a_python_without_the_private_cache_has_sqlite_all_the_same() -> None:
    said = python(
        "import _functools; del _functools._lru_cache_wrapper",
        "from pyengine.database.sqlite import sqlite3", USE,
    )  # fmt: skip
    assert said.splitlines() == ["(1,)"]
