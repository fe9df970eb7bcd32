"""pyconmon's finder imports what importlib would, and leaves it the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyconmon import loader
from support.loading import PackageCopy

SOURCES = Path(loader.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> PackageCopy:
    """The package with a compiled ``errors`` only."""
    return PackageCopy(SOURCES, tmp_path, "loader", "errors.py")


def test_compiled_modules_come_from_our_loader(copy: PackageCopy) -> None:
    assert copy.loaders("pyconmon.errors") == ["ours"]


def test_what_is_not_compiled_is_left_to_importlib(copy: PackageCopy) -> None:
    assert copy.loaders("pyconmon.files") == ["SourceFileLoader"]


def test_a_module_changed_since_it_was_compiled_is_left_to_importlib(copy: PackageCopy) -> None:
    info = os.stat(copy.path / "errors.py")
    os.utime(copy.path / "errors.py", ns=(info.st_atime_ns, info.st_mtime_ns + 2_000_000_000))
    assert copy.loaders("pyconmon.errors") == ["SourceFileLoader"]


def test_code_of_another_python_is_left_to_importlib(copy: PackageCopy) -> None:
    code = copy.code("errors")
    code.write_bytes(b"\0\0\r\n" + code.read_bytes()[4:])
    assert copy.loaders("pyconmon.errors") == ["SourceFileLoader"]


def test_a_future_statement_imports_nothing_and_an_import_does(copy: PackageCopy) -> None:
    said = copy.run(
        "from pyconmon import errors",
        "print(type(sys.modules['__future__']).__name__)",
        "import __future__",
        "print(__future__.all_feature_names[0])",
        before="sys.modules.pop('__future__', None)",
    )
    assert said == "_Future\nnested_scopes\n"


def test_a_module_that_is_not_there_is_not_found() -> None:
    assert loader.Finder.find_spec("pyconmon.nothing") is None
    assert loader.Finder.find_spec("json") is None


def test_the_package_itself_has_no_code() -> None:
    assert (SOURCES / "__init__.py").stat().st_size == 0
