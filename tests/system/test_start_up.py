"""What pyengine's everyday commands import: every module here is milliseconds of each start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot

# Too slow for a command that is typed all day, or of no use to it.
BANNED = {
    "argparse", "asyncio", "click", "contextlib", "ctypes", "dataclasses", "email", "enum",
    "http.client", "inspect", "json", "logging", "pathlib", "random", "re", "shutil", "signal",
    "socket", "sqlite3", "ssl", "subprocess", "tarfile", "tempfile", "tomllib", "typing", "urllib3",
    "yaml", "zstandard",
}  # fmt: skip


def imported(root: ContainerRoot, *arguments: str) -> set[str]:
    program = Path(sys.executable).parent
    main = next(program.parent.glob("lib/python3*/site-packages/pyengine/__main__.py"))
    python = [sys.executable, "-I", "-S", "-X", "importtime", str(main)]
    done = subprocess.run(
        [*python, *root.argv(*arguments)[1:]], capture_output=True, check=True, timeout=60
    )
    lines = done.stderr.decode().splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


@pytest.mark.needs("root", "busybox")
def test_everyday_commands_import_little(pyengine_path: str, tmp_path: Path) -> None:
    root = ContainerRoot(pyengine_path, tmp_path)
    root.load_image()
    root.ok("ps")  # whatever is computed once and cached is there now
    assert imported(root, "run", "--rm", IMAGE, "true") & BANNED == set()
    assert imported(root, "run", "-d", "--name", "x", IMAGE, "sleep", "1000") & BANNED == set()
    for command in (
        ["ps", "-a"],
        ["exec", "x", "true"],
        ["logs", "x"],
        ["stop", "-t", "0", "x"],
        ["rm", "x"],
    ):
        assert imported(root, *command) & BANNED == set(), command
    assert root.settled() == []
