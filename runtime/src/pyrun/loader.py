"""Imports pyrun's modules in fewer steps than importlib's finder for paths (docs/adr/0011).

Anything unusual, such as a module that has not been compiled or has changed since, is left to
importlib, which compiles it as ever. Packages of pyrun have an empty ``__init__``, which is not
even opened. ``from __future__ import annotations`` would come before ``install``.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

_TOP = __file__.rpartition("/")[0]
_TAIL = f".{sys.implementation.cache_tag}.pyc"
_HEADER_BYTES = 16  # magic number, flags, and the source's time and size, four bytes each
_LIMIT_BYTES = 1 << 16  # malloc takes more from the kernel, and gives it back, each time


class Finder:
    """For ``sys.meta_path``: finds what is below pyrun, and loads it."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """How to import a module, or None to have somebody else look for it."""
        if name == "pyrun":
            return _package(name, _TOP)
        if not name.startswith("pyrun."):
            return None
        base = _TOP + name[5:].replace(".", "/")
        try:
            source = posix.stat(f"{base}.py")
        except OSError:
            return _package(name, base)
        directory, _, last = base.rpartition("/")
        code = _compiled(f"{directory}/__pycache__/{last}{_TAIL}", source)
        if code is None:
            return None
        return ModuleSpec(name, Finder, origin=f"{base}.py", loader_state=code)  # type: ignore[arg-type]  # its methods are static

    @staticmethod
    def create_module(_spec: ModuleSpec) -> "ModuleType | None":
        """An ordinary module."""
        return None

    @staticmethod
    def exec_module(module: "ModuleType") -> None:
        """Run the module's code."""
        code: "CodeType | None" = module.__spec__.loader_state  # type: ignore[union-attr]  # find_spec made it
        if code is not None:
            exec(code, module.__dict__)


def _package(name: str, base: str) -> ModuleSpec | None:
    try:
        if posix.stat(f"{base}/__init__.py").st_size > 0:
            return None
    except OSError:
        return None
    spec = ModuleSpec(name, Finder, origin=f"{base}/__init__.py", is_package=True)  # type: ignore[arg-type]  # as above
    spec.submodule_search_locations = [base]
    return spec


def _compiled(path: str, source: posix.stat_result) -> "CodeType | None":
    """The code in a .pyc that belongs to this source (PEP 552), or None."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = posix.read(fd, _LIMIT_BYTES)
    finally:
        posix.close(fd)
    words = (0, int(source.st_mtime), source.st_size)
    expected = MAGIC_NUMBER + b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)
    if data[:_HEADER_BYTES] != expected or len(data) == _LIMIT_BYTES:
        return None
    code: "CodeType" = marshal.loads(memoryview(data)[_HEADER_BYTES:])
    return code


class _Future:
    """In the place of ``__future__``, which a future statement imports and makes no use of.

    Whoever wants more of it than that gets the real one. It saves 0.3 ms.
    """

    annotations = None

    def __getattr__(self, name: str) -> object:
        del sys.modules["__future__"]
        return getattr(__import__("__future__"), name)


def install() -> None:
    """From here on pyrun's modules are found by ``Finder``."""
    sys.meta_path.insert(0, Finder)
    sys.modules.setdefault("__future__", _Future())  # type: ignore[arg-type]  # enough of a module
