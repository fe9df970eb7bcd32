"""The walls between programs and layers (docs/adr/0003) hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PROGRAMS = {"pyrun": "runtime", "pyconmon": "conmon", "pyengine": "engine"}

# What a part of pyrun may import from pyrun. errors, lists, names and version import
# nothing of it.
PYRUN_LAYERS = {
    "commands": {
        "commands",
        "container",
        "linux",
        "spec",
        "errors",
        "names",
        "particular_errors",
        "syscalls",
        "version",
    },
    "container": {
        "container",
        "linux",
        "spec",
        "errors",
        "names",
        "particular_errors",
        "syscalls",
        "version",
    },
    "linux": {"linux", "errors", "lists", "names", "syscalls"},
    "spec": {"spec", "errors", "lists", "names", "syscalls"},
    "errors": set(),
    "particular_errors": {"errors"},
    "lists": set(),
    "names": set(),
    "syscalls": {"names"},
    "version": set(),
}

# pyengine's nouns and drivers; a noun may import those to its right.
NOUNS = ["kube", "build", "pods", "containers", "images", "networks", "volumes", "secrets"]
DRIVERS = {
    "specgen", "monitor", "ocirun", "storage", "registry", "netdriver", "database", "config",
    "templates", "events",
}  # fmt: skip
BASE = {"errors", "jsontext", "log", "syscalls", "version"}


def modules(program: str) -> list[Path]:
    return sorted((TOP / PROGRAMS[program] / "src" / program).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every dotted name imported anywhere in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part(name: str) -> str:
    """The first component below the program's package, or an empty string."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 else ""


def module_part(path: Path, program: str) -> str:
    inside = path.relative_to(TOP / PROGRAMS[program] / "src" / program)
    return inside.parts[0].removesuffix(".py")


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_imports_another(program: str) -> None:
    others = set(PROGRAMS) - {program}
    offenders = [
        (str(path), name)
        for path in modules(program)
        for name in imports(path)
        if name.split(".")[0] in others
    ]
    assert offenders == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_init_is_empty(program: str) -> None:
    filled = [path for path in modules(program) if path.name == "__init__.py" and path.read_text()]
    assert filled == []


def test_pyrun_imports_point_down() -> None:
    offenders = []
    for path in modules("pyrun"):
        layer = module_part(path, "pyrun")
        allowed = PYRUN_LAYERS.get(layer)
        if allowed is None:  # cli and __main__ may use everything
            continue
        names = {name for name in imports(path) if name.startswith("pyrun.")}
        offenders += [(str(path), name) for name in names if part(name) not in allowed]
    assert offenders == []


def test_modules_of_linux_know_one_feature_each() -> None:
    """A module of linux/ imports only paths beside itself (or its own folder, as cgroups/ does)."""
    offenders = []
    for path in modules("pyrun"):
        if module_part(path, "pyrun") != "linux":
            continue
        feature = path.relative_to(TOP / "runtime/src/pyrun/linux").parts[0].removesuffix(".py")
        for name in imports(path):
            pieces = name.split(".")
            if pieces[:2] == ["pyrun", "linux"] and pieces[2] not in {"paths", feature}:
                offenders.append((str(path), name))
    assert offenders == []


def allowed_in_engine(layer: str) -> set[str] | None:
    if layer in ("cli", "api"):
        return {layer, "engine", *NOUNS, *DRIVERS, *BASE}
    if layer == "engine":
        return {*NOUNS, *DRIVERS, *BASE}
    if layer in NOUNS:
        return {*NOUNS[NOUNS.index(layer) :], *DRIVERS, *BASE}
    if layer in DRIVERS:
        return {*DRIVERS, *BASE}
    return set() if layer in BASE else None


def test_pyengine_imports_point_down() -> None:
    offenders = []
    for path in modules("pyengine"):
        allowed = allowed_in_engine(module_part(path, "pyengine"))
        if allowed is None:
            continue
        names = {name for name in imports(path) if name.startswith("pyengine.")}
        offenders += [(str(path), name) for name in names if part(name) not in allowed]
    assert offenders == []
