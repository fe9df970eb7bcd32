"""pyengine's own loader imports what importlib would, and leaves it the rest."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyengine import loader

SOURCES = Path(loader.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with a compiled ``log`` and ``monitor.keys`` only."""
    package = tmp_path / "pyengine"
    shutil.copytree(SOURCES, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("log.py", "monitor/keys.py"):
        py_compile.compile(str(package / name), doraise=True)
    return package


def run_python(copy: Path, *lines: str) -> str:
    """What a Python with our loader prints."""
    start = (
        "import sys",
        "sys.dont_write_bytecode = True",
        f"sys.path[:0] = [{str(copy.parent)!r}]",
    )
    program = "\n".join((*start, "from pyengine import loader", "loader.install()", *lines))
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def loaders(copy: Path, *names: str, before: str = "pass") -> list[str]:
    """Which loader each module of ``package`` comes from, in a Python of its own."""
    return run_python(
        copy,
        before,
        f"for name in {names!r}:",
        "    spec = __import__(name, fromlist=['x']).__spec__",
        "    print('ours' if spec.loader is None else type(spec.loader).__name__)",
    ).split()


def compiled(copy: Path, name: str, text: str) -> None:
    """A module of the package with its code."""
    (copy / f"{name}.py").write_text(text)
    py_compile.compile(str(copy / f"{name}.py"), doraise=True)


def test_compiled_modules_and_empty_packages_come_from_our_loader(copy: Path) -> None:
    assert (
        loaders(copy, "pyengine.log", "pyengine.monitor", "pyengine.monitor.keys") == ["ours"] * 3
    )


def test_what_is_not_compiled_or_has_changed_since_is_left_to_importlib(copy: Path) -> None:
    info = os.stat(copy / "log.py")
    os.utime(copy / "log.py", ns=(info.st_atime_ns, info.st_mtime_ns + 2_000_000_000))
    [keys] = (copy / "monitor" / "__pycache__").glob("keys.*.pyc")
    keys.write_bytes(b"\0\0\r\n" + keys.read_bytes()[4:])  # of another Python
    (copy / "storage" / "__init__.py").write_text("value = 1\n")
    names = ("pyengine.errors", "pyengine.log", "pyengine.monitor.keys", "pyengine.storage")
    assert loaders(copy, *names) == ["SourceFileLoader"] * 4


def test_where_there_may_be_threads_importlib_keeps_them_apart(copy: Path) -> None:
    found = loaders(copy, "pyengine.log", before="import threading")
    assert found == ["SourceFileLoader"]


def test_what_is_not_there_is_an_import_error(copy: Path) -> None:
    said = run_python(copy, "from pyengine.log import nothing")
    assert "ImportError: cannot import name 'nothing' from 'pyengine.log'" in said
    said = run_python(copy, "from pyengine.nothing import x")
    assert "ModuleNotFoundError: No module named 'pyengine.nothing'" in said


def test_a_module_whose_import_fails_is_not_kept(copy: Path) -> None:
    compiled(copy, "broken", "raise ValueError('broken')\n")
    lines = ["try:", "    from pyengine import broken", "except ValueError as error:"]
    said = run_python(copy, *lines, "    print(error, 'pyengine.broken' in sys.modules)")
    assert said == "broken False\n"


def test_modules_may_import_each_other(copy: Path) -> None:
    compiled(copy, "one", "from pyengine import two\nvalue = 1\n")
    compiled(copy, "two", "from pyengine import one\ndef get(): return one.value\n")
    assert run_python(copy, "from pyengine import one", "print(one.two.get())") == "1\n"


def test_packages_of_pyengine_are_empty() -> None:
    assert [path for path in SOURCES.rglob("__init__.py") if path.stat().st_size] == []


def test_every_compiled_module_fits_the_loader(tmp_path: Path) -> None:
    for source in SOURCES.rglob("*.py"):
        compiled = py_compile.compile(str(source), cfile=str(tmp_path / "compiled"), doraise=True)
        assert compiled is not None
        assert os.stat(compiled).st_size < loader._LIMIT_BYTES, source
