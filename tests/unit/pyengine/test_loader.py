"""pyengine's own loader imports what importlib would, and leaves it the rest."""

from __future__ import annotations

import os
import py_compile
from pathlib import Path

import pytest

from pyengine import loader
from support.loading import PackageCopy

SOURCES = Path(loader.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> PackageCopy:
    """The package with a compiled ``log`` and ``monitor.keys`` only."""
    return PackageCopy(SOURCES, tmp_path, "loader", "log.py", "monitor/keys.py")


def test_compiled_modules_and_empty_packages_come_from_our_loader(copy: PackageCopy) -> None:
    names = ("pyengine.log", "pyengine.monitor", "pyengine.monitor.keys")
    assert copy.loaders(*names) == ["ours"] * 3


def test_what_is_not_compiled_or_has_changed_since_is_left_to_importlib(copy: PackageCopy) -> None:
    info = os.stat(copy.path / "log.py")
    os.utime(copy.path / "log.py", ns=(info.st_atime_ns, info.st_mtime_ns + 2_000_000_000))
    keys = copy.code("monitor/keys")
    keys.write_bytes(b"\0\0\r\n" + keys.read_bytes()[4:])  # of another Python
    (copy.path / "storage" / "__init__.py").write_text("value = 1\n")
    names = ("pyengine.errors", "pyengine.log", "pyengine.monitor.keys", "pyengine.storage")
    assert copy.loaders(*names) == ["SourceFileLoader"] * 4


def test_where_there_may_be_threads_importlib_keeps_them_apart(copy: PackageCopy) -> None:
    found = copy.loaders("pyengine.log", before="import threading")
    assert found == ["SourceFileLoader"]


def test_what_is_not_there_is_an_import_error(copy: PackageCopy) -> None:
    said = copy.run("from pyengine.log import nothing")
    assert "ImportError: cannot import name 'nothing' from 'pyengine.log'" in said
    said = copy.run("from pyengine.nothing import x")
    assert "ModuleNotFoundError: No module named 'pyengine.nothing'" in said


def test_a_module_whose_import_fails_is_not_kept(copy: PackageCopy) -> None:
    copy.add("broken", "raise ValueError('broken')\n")
    lines = ["try:", "    from pyengine import broken", "except ValueError as error:"]
    said = copy.run(*lines, "    print(error, 'pyengine.broken' in sys.modules)")
    assert said == "broken False\n"


def test_modules_may_import_each_other(copy: PackageCopy) -> None:
    copy.add("one", "from pyengine import two\nvalue = 1\n")
    copy.add("two", "from pyengine import one\ndef get(): return one.value\n")
    assert copy.run("from pyengine import one", "print(one.two.get())") == "1\n"


def test_packages_of_pyengine_are_empty() -> None:
    assert [path for path in SOURCES.rglob("__init__.py") if path.stat().st_size] == []


def test_every_compiled_module_fits_the_loader(tmp_path: Path) -> None:
    sources = list(SOURCES.rglob("*.py"))
    assert len(sources) > 50
    for source in sources:
        compiled = py_compile.compile(str(source), cfile=str(tmp_path / "compiled"), doraise=True)
        assert compiled is not None
        assert os.stat(compiled).st_size < loader._LIMIT_BYTES, source
