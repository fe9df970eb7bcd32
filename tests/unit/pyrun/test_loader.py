"""pyrun's own loader imports what importlib would, and leaves it the rest."""

from __future__ import annotations

import os
import py_compile
from pathlib import Path

import pytest

from pyrun import __main__ as loader
from support.loading import PackageCopy

SOURCES = Path(loader.__file__).parent
EMPTY = (SOURCES / "__init__.py", *SOURCES.glob("*/__init__.py"), *SOURCES.glob("*/*/__init__.py"))


@pytest.fixture
def copy(tmp_path: Path) -> PackageCopy:
    """The package with a compiled ``names`` only."""
    return PackageCopy(SOURCES, tmp_path, "__main__", "names.py")


def test_compiled_modules_and_empty_packages_come_from_our_loader(copy: PackageCopy) -> None:
    assert copy.loaders("pyrun.names", "pyrun.linux") == ["ours", "ours"]


def test_what_is_not_compiled_is_left_to_importlib(copy: PackageCopy) -> None:
    assert copy.loaders("pyrun.errors") == ["SourceFileLoader"]


def test_a_module_changed_since_it_was_compiled_is_left_to_importlib(copy: PackageCopy) -> None:
    info = os.stat(copy.path / "names.py")
    os.utime(copy.path / "names.py", ns=(info.st_atime_ns, info.st_mtime_ns + 2_000_000_000))
    assert copy.loaders("pyrun.names") == ["SourceFileLoader"]


def test_code_of_another_python_is_left_to_importlib(copy: PackageCopy) -> None:
    code = copy.code("names")
    code.write_bytes(b"\0\0\r\n" + code.read_bytes()[4:])
    assert copy.loaders("pyrun.names") == ["SourceFileLoader"]


def test_a_package_with_code_is_left_to_importlib(copy: PackageCopy) -> None:
    (copy.path / "linux" / "__init__.py").write_text("value = 1\n")
    assert copy.loaders("pyrun.linux") == ["SourceFileLoader"]


def test_a_module_that_is_not_there_is_an_import_error(copy: PackageCopy) -> None:
    said = copy.run("from pyrun.linux import nothing")
    assert "ImportError: cannot import name 'nothing' from 'pyrun.linux'" in said
    assert "ModuleNotFoundError: No module named 'pyrun.nothing'" in copy.run(
        "from pyrun.nothing import x"
    )


def test_a_name_that_is_not_there_is_an_import_error(copy: PackageCopy) -> None:
    said = copy.run("from pyrun.names import nothing")
    assert "ImportError: cannot import name 'nothing' from 'pyrun.names'" in said


def test_a_module_whose_import_fails_is_not_kept(copy: PackageCopy) -> None:
    copy.add("broken", "raise ValueError('broken')\n")
    lines = ["try:", "    from pyrun import broken", "except ValueError as error:"]
    said = copy.run(*lines, "    print(error, 'pyrun.broken' in sys.modules)")
    assert said == "broken False\n"


def test_modules_may_import_each_other(copy: PackageCopy) -> None:
    copy.add("one", "from pyrun import two\nvalue = 1\n")
    copy.add("two", "from pyrun import one\ndef get(): return one.value\n")
    assert copy.run("from pyrun import one", "print(one.two.get())") == "1\n"


def test_a_future_statement_imports_nothing_and_an_import_does(copy: PackageCopy) -> None:
    lines = ["sys.modules.pop('__future__', None)", "from pyrun import cli, names"]
    lines += ["print('__future__' in sys.modules)", "import __future__"]
    said = copy.run(*lines, "print(__future__.all_feature_names[0])")
    assert said == "False\nnested_scopes\n"


def test_every_import_is_seen_when_imports_are_timed(copy: PackageCopy) -> None:
    said = copy.run("from pyrun import names", options=("-X", "importtime"))
    assert "pyrun.names" in said


@pytest.mark.parametrize("path", EMPTY)
def test_packages_of_pyrun_are_empty(path: Path) -> None:
    assert path.stat().st_size == 0


def test_every_compiled_module_fits_the_loader(tmp_path: Path) -> None:
    sources = list(SOURCES.rglob("*.py"))
    assert len(sources) > 50
    for source in sources:
        compiled = py_compile.compile(str(source), cfile=str(tmp_path / "compiled"), doraise=True)
        assert compiled is not None
        assert os.stat(compiled).st_size < loader._LIMIT_BYTES, source
