"""Who counts as privileged, and where states are kept then."""

from __future__ import annotations

import importlib
import os
import posix
import subprocess
import sys
from pathlib import Path

import pytest

from pyrun import cli, names
from pyrun.commands import settings

SOURCES = Path(__file__).parents[3] / "runtime/src"


@pytest.mark.needs("root")
def test_root_of_the_host_is_privileged() -> None:
    assert settings.is_host_root()


@pytest.mark.needs("userns")
def test_root_of_a_user_namespace_is_not_the_host_s() -> None:
    code = "from pyrun.commands import settings; print(settings.is_host_root())"
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("rootless", "user", "expected"),
    [
        (False, "tester", "/run/pyrun"),
        (True, "tester", "/run/user/7/pyrun"),
        (True, "root", "/run/pyrun"),
    ],
)
def test_states_of_a_user_are_in_the_user_s_runtime_directory(
    monkeypatch: pytest.MonkeyPatch, rootless: bool, user: str, expected: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setenv("USER", user)
    monkeypatch.setattr(posix, "geteuid", lambda: 0)
    made = settings.Settings()
    made.rootless = rootless
    assert cli.default_root(made) == expected


@pytest.mark.parametrize(
    "path", ["/run/a", "/", "a", "./a", "/run//a", "//run/a", "/run/a/", "/run/../a", "/run/.a"]
)
def test_the_root_is_absolute_and_normal_however_it_is_spelled(path: str) -> None:
    made = settings.Settings()
    assert cli._read_globals(["--root", path, "state"], made) == ["state"]
    assert made.root == names.absolute(path)


@pytest.mark.parametrize(("command", "status"), [("list", 1), ("exec", 255)])
def test_no_memory_is_a_message_that_takes_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str, status: int
) -> None:
    def fail(_words: list[str], _settings: settings.Settings) -> int:
        raise MemoryError

    module = importlib.import_module(f"pyrun.commands.{command}")
    monkeypatch.setattr(module, "main", fail)
    assert cli.main([command]) == status
    assert capfd.readouterr().err == "pyrun: there is no memory left\n"
