"""What pyrun imports on the paths that run for every container (docs/adr/0002)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

TOP = Path(__file__).resolve().parents[2]
WITHOUT_SYSTEM_CALLS = ("start", "state", "kill", "delete")
# what the quickest commands go without (docs/adr/0011)
RARE = {
    "errno", "fcntl", "select", "pyrun.commands.failures", "pyrun.commands.messages",
    "pyrun.commands.options", "pyrun.container.directories", "pyrun.container.lifecycle",
    "pyrun.container.removal", "pyrun.container.saving", "pyrun.names",
    "pyrun.particular_errors", "pyrun.spec.load",
}  # fmt: skip


def banned() -> set[str]:
    settings = tomllib.loads((TOP / "pyproject.toml").read_text())
    names = settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
    return set(names)


def imported(runtime: Runtime, *words: str) -> set[str]:
    """The modules that one command imports, as ``-X importtime`` lists them."""
    main = Path(sys.executable).parent.parent.glob("lib/python3*/site-packages/pyrun/__main__.py")
    options = ["-I", "-S", "-X", "importtime", str(next(main))]
    command = [sys.executable, *options, "--root", str(runtime.root), *words]
    errors = runtime.root.parent / "imports"
    with open(errors, "w") as stderr:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=stderr, timeout=60,
        )  # fmt: skip
    text = errors.read_text()
    assert done.returncode == 0, text
    return {line.rpartition("|")[2].strip() for line in text.splitlines() if "|" in line}


@pytest.fixture
def runtime(pyrun_path: str, tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(pyrun_path, tmp_path / "state") as made:
        yield made


@pytest.mark.needs("root", "busybox")
def test_no_command_of_a_containers_life_imports_a_slow_module(
    runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "bundle").mkdir()
    bundle = Bundle(tmp_path / "bundle", ["sleep", "1000"])
    bundle.save()
    name = runtime.new_id()
    found = {"create": imported(runtime, "create", "-b", str(bundle.path), name)}
    found["start"] = imported(runtime, "start", name)
    found["state"] = imported(runtime, "state", name)
    found["kill"] = imported(runtime, "kill", name, "KILL")
    runtime.wait_until_stopped(name)
    found["delete"] = imported(runtime, "delete", name)
    slow = {command: sorted(modules & banned()) for command, modules in found.items()}
    assert slow == {command: [] for command in found}
    for command, modules in found.items():
        assert "os" not in modules, command
    for command in WITHOUT_SYSTEM_CALLS:
        assert "_ctypes" not in found[command], command
    assert found["state"] & RARE == set()
    assert found["start"] & (RARE - {"fcntl", "select"}) == set()
    # where a cgroup is still busy, a driver brings more modules
    busy = {"errno", "fcntl", "select", "pyrun.names"}
    busy |= {"pyrun.container.lifecycle", "pyrun.container.removal"}
    assert found["delete"] & (RARE - busy) == set()


@pytest.mark.needs("root", "busybox")
def test_a_rare_feature_is_imported_when_it_is_asked_for(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    bundle = Bundle(tmp_path / "bundle")
    bundle.hook("poststop", tmp_path / "hook", "true")
    name = runtime.create(bundle)
    assert "pyrun.container.hooks" not in imported(runtime, "state", name)
    assert "pyrun.container.hooks" in imported(runtime, "delete", "--force", name)
