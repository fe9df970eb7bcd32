"""What pyengine's frequent commands import: each module below costs every start of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "engine" / "src"

BANNED = {
    "argparse", "asyncio", "http.client", "logging", "ssl", "subprocess", "tarfile", "tomllib",
    "cryptography", "nacl", "urllib3", "yaml", "zstandard",
}  # fmt: skip

# What a command on click's path has to have, and the commands that live without click have not.
BANNED_WITHOUT_CLICK = BANNED | {
    "click", "collections", "contextlib", "ctypes", "dataclasses", "enum", "functools", "inspect",
    "json", "re", "shutil", "signal", "socket", "sqlite3", "typing",
}  # fmt: skip

# "-S" as the launcher does it: site itself may import some of these.
SCRIPT = """
import sys
sys.path[:0] = [{source!r}, {packages!r}]
from pyengine.cli import quick
status = quick.main({arguments!r})
if status is None:
    from pyengine.cli import app
    status = app.main({arguments!r})
print("\\n".join(sys.modules), file=sys.stderr)
sys.exit(status)
"""


def modules_after(arguments: list[str], status: int = 0) -> set[str]:
    import click

    packages = str(Path(click.__file__).parents[1])
    script = SCRIPT.format(source=str(SOURCE), packages=packages, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["version"], ["images"], ["ps", "-a"]], ids=" ".join
)
def test_a_frequent_command_imports_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    roots = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run")]
    modules_after([*roots, *arguments])  # makes the root, and keeps containers.conf parsed
    assert modules_after([*roots, *arguments]) & BANNED == set()


@pytest.mark.parametrize("arguments", [["ps", "-a"], ["rm", "-f", "web"]], ids=" ".join)
def test_a_command_of_every_day_lives_without_click(arguments: list[str], tmp_path: Path) -> None:
    roots = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run")]
    modules_after([*roots, *arguments])
    assert modules_after([*roots, *arguments]) & BANNED_WITHOUT_CLICK == set()


def test_inspect_lives_without_click(tmp_path: Path) -> None:
    roots = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run")]
    modules_after([*roots, "ps"])
    assert (
        modules_after([*roots, "container", "inspect", "web"], 125) & BANNED_WITHOUT_CLICK == set()
    )


def test_help_imports_no_commands_module() -> None:
    loaded = {name for name in modules_after(["--help"]) if name.startswith("pyengine.cli.")}
    assert loaded == {
        f"pyengine.cli.{name}"
        for name in ("app", "declare", "examples", "helping", "outcome", "quick", "root", "table")
    }
