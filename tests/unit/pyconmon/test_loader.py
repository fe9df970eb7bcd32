"""pyconmon's finder imports what importlib would, and leaves it the rest."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyconmon import loader

SOURCES = Path(loader.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with a compiled ``errors`` only."""
    package = tmp_path / "pyconmon"
    shutil.copytree(SOURCES, package, ignore=shutil.ignore_patterns("__pycache__"))
    py_compile.compile(str(package / "errors.py"), doraise=True)
    return package


def loader_of(package: Path, name: str) -> str:
    """Which loader a module of ``package`` comes from, in a Python of its own."""
    program = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); sys.dont_write_bytecode = True\n"
        "from pyconmon import loader; loader.install()\n"
        f"spec = __import__({name!r}, fromlist=['x']).__spec__\n"
        "print(getattr(spec.loader, '__name__', type(spec.loader).__name__))\n"
    )
    command = [sys.executable, "-I", "-c", program]
    return subprocess.check_output(command, text=True, timeout=60).strip()


def test_compiled_modules_come_from_our_loader(copy: Path) -> None:
    assert loader_of(copy, "pyconmon.errors") == "Finder"


def test_what_is_not_compiled_is_left_to_importlib(copy: Path) -> None:
    assert loader_of(copy, "pyconmon.files") == "SourceFileLoader"


def test_a_module_changed_since_it_was_compiled_is_left_to_importlib(copy: Path) -> None:
    info = os.stat(copy / "errors.py")
    os.utime(copy / "errors.py", ns=(info.st_atime_ns, info.st_mtime_ns + 2_000_000_000))
    assert loader_of(copy, "pyconmon.errors") == "SourceFileLoader"


def test_code_of_another_python_is_left_to_importlib(copy: Path) -> None:
    [compiled] = (copy / "__pycache__").glob("errors.*.pyc")
    compiled.write_bytes(b"\0\0\r\n" + compiled.read_bytes()[4:])
    assert loader_of(copy, "pyconmon.errors") == "SourceFileLoader"


def test_a_future_statement_imports_nothing_and_an_import_does(copy: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(copy.parent)!r}); sys.dont_write_bytecode = True\n"
        "from pyconmon import loader; sys.modules.pop('__future__', None); loader.install()\n"
        "from pyconmon import errors; print(type(sys.modules['__future__']).__name__)\n"
        "import __future__; print(__future__.all_feature_names[0])\n"
    )
    command = [sys.executable, "-I", "-c", program]
    assert subprocess.check_output(command, text=True, timeout=60) == "_Future\nnested_scopes\n"


def test_a_module_that_is_not_there_is_not_found() -> None:
    assert loader.Finder.find_spec("pyconmon.nothing") is None
    assert loader.Finder.find_spec("json") is None


def test_the_package_itself_has_no_code() -> None:
    assert (SOURCES / "__init__.py").stat().st_size == 0
