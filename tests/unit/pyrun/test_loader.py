"""pyrun's own loader imports what importlib would, and leaves it the rest."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyrun import __main__ as loader

SOURCES = Path(loader.__file__).parent
EMPTY = (SOURCES / "__init__.py", *SOURCES.glob("*/__init__.py"), *SOURCES.glob("*/*/__init__.py"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with a compiled ``names`` only."""
    package = tmp_path / "pyrun"
    shutil.copytree(SOURCES, package, ignore=shutil.ignore_patterns("__pycache__"))
    py_compile.compile(str(package / "names.py"), doraise=True)
    return package


def loaders(package: Path, *names: str) -> list[str]:
    """Which loader each module of ``package`` comes from, in a Python of its own."""
    program = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); sys.dont_write_bytecode = True\n"
        "from pyrun import __main__ as loader; loader.install()\n"
        f"for name in {names!r}:\n"
        "    spec = __import__(name, fromlist=['x']).__spec__\n"
        "    print('ours' if spec.loader is None else type(spec.loader).__name__)\n"
    )
    command = [sys.executable, "-I", "-c", program]
    return subprocess.check_output(command, text=True, timeout=60).split()


def test_compiled_modules_and_empty_packages_come_from_our_loader(copy: Path) -> None:
    assert loaders(copy, "pyrun.names", "pyrun.linux") == ["ours", "ours"]


def test_what_is_not_compiled_is_left_to_importlib(copy: Path) -> None:
    assert loaders(copy, "pyrun.errors") == ["SourceFileLoader"]


def test_a_module_changed_since_it_was_compiled_is_left_to_importlib(copy: Path) -> None:
    info = os.stat(copy / "names.py")
    os.utime(copy / "names.py", ns=(info.st_atime_ns, info.st_mtime_ns + 2_000_000_000))
    assert loaders(copy, "pyrun.names") == ["SourceFileLoader"]


def test_code_of_another_python_is_left_to_importlib(copy: Path) -> None:
    [compiled] = (copy / "__pycache__").glob("names.*.pyc")
    compiled.write_bytes(b"\0\0\r\n" + compiled.read_bytes()[4:])
    assert loaders(copy, "pyrun.names") == ["SourceFileLoader"]


def test_a_package_with_code_is_left_to_importlib(copy: Path) -> None:
    (copy / "linux" / "__init__.py").write_text("value = 1\n")
    assert loaders(copy, "pyrun.linux") == ["SourceFileLoader"]


def run_python(copy: Path, *lines: str) -> str:
    """What a Python with our loader prints."""
    start = (
        f"import sys; sys.path.insert(0, {str(copy.parent)!r})",
        "from pyrun import __main__ as loader",
    )
    program = "\n".join((*start, "loader.install()", *lines))
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def compiled(copy: Path, name: str, text: str) -> None:
    """A module of the package with its code."""
    (copy / f"{name}.py").write_text(text)
    py_compile.compile(str(copy / f"{name}.py"), doraise=True)


def test_a_module_that_is_not_there_is_an_import_error(copy: Path) -> None:
    said = run_python(copy, "from pyrun.linux import nothing")
    assert "ImportError: cannot import name 'nothing' from 'pyrun.linux'" in said
    assert "ModuleNotFoundError: No module named 'pyrun.nothing'" in run_python(
        copy, "from pyrun.nothing import x"
    )


def test_a_name_that_is_not_there_is_an_import_error(copy: Path) -> None:
    said = run_python(copy, "from pyrun.names import nothing")
    assert "ImportError: cannot import name 'nothing' from 'pyrun.names'" in said


def test_a_module_whose_import_fails_is_not_kept(copy: Path) -> None:
    compiled(copy, "broken", "raise ValueError('broken')\n")
    lines = ["try:", "    from pyrun import broken", "except ValueError as error:"]
    said = run_python(copy, *lines, "    print(error, 'pyrun.broken' in sys.modules)")
    assert said == "broken False\n"


def test_modules_may_import_each_other(copy: Path) -> None:
    compiled(copy, "one", "from pyrun import two\nvalue = 1\n")
    compiled(copy, "two", "from pyrun import one\ndef get(): return one.value\n")
    assert run_python(copy, "from pyrun import one", "print(one.two.get())") == "1\n"


def test_a_future_statement_imports_nothing_and_an_import_does(copy: Path) -> None:
    lines = ["sys.modules.pop('__future__', None)", "from pyrun import cli, names"]
    lines += ["print('__future__' in sys.modules)", "import __future__"]
    said = run_python(copy, *lines, "print(__future__.all_feature_names[0])")
    assert said == "False\nnested_scopes\n"


def test_every_import_is_seen_when_imports_are_timed(copy: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(copy.parent)!r})\n"
    program += "from pyrun import __main__ as loader; loader.install()\nfrom pyrun import names\n"
    command = [sys.executable, "-I", "-X", "importtime", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "pyrun.names" in done.stderr


@pytest.mark.parametrize("path", EMPTY)
def test_packages_of_pyrun_are_empty(path: Path) -> None:
    assert path.stat().st_size == 0


def test_every_compiled_module_fits_the_loader(tmp_path: Path) -> None:
    for source in SOURCES.rglob("*.py"):
        compiled = py_compile.compile(str(source), cfile=str(tmp_path / "compiled"), doraise=True)
        assert compiled is not None
        assert os.stat(compiled).st_size < loader._LIMIT_BYTES, source
