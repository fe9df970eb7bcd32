"""Runs other programs, such as skopeo, gpg or a registry's client."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TIMEOUT_S = 110  # before pytest gives up


def run(*command: str | Path, **environment: str) -> str:
    """What a program prints that must succeed."""
    done = _call(command, environment)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def fails(status: int, *command: str | Path, **environment: str) -> str:
    """The complaint of a program that must end with ``status``."""
    done = _call(command, environment)
    assert done.returncode == status, (command, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def _call(
    command: tuple[str | Path, ...], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
