"""Imports pyconmon's modules without searching directories, as pyrun does (docs/adr/0011).

A monitor keeps in its memory what importlib remembers of each directory that it has listed. What
is unusual, such as a module that is not compiled or has changed since, is left to importlib.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

_TOP = __file__.rpartition("/")[0]
_HEADER_BYTES = 16  # magic number, flags, and the source's time and size, four bytes each
LIMIT_BYTES = 1 << 16

# Descriptors of compiled modules, by name: what a resident monitor loads at the container's end
# must be there even if the package was replaced or removed meanwhile.
held: dict[str, int] = {}


class Finder:
    """For ``sys.meta_path``: finds pyconmon and the modules in it, and loads them."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """How to import a module, or None to have somebody else look for it."""
        if name == "pyconmon":
            spec = ModuleSpec(name, Finder, origin=f"{_TOP}/__init__.py", is_package=True)  # type: ignore[arg-type]  # its methods are static
            spec.submodule_search_locations = [_TOP]
            return spec
        package, _, last = name.partition(".")
        if package != "pyconmon":
            return None
        source = f"{_TOP}/{last}.py"
        if last in held:
            code = marshal.loads(posix.pread(held[last], LIMIT_BYTES, _HEADER_BYTES))
            return ModuleSpec(name, Finder, origin=source, loader_state=code)  # type: ignore[arg-type]  # as above
        try:
            status = posix.stat(source)
            fd = posix.open(
                f"{_TOP}/__pycache__/{last}.{sys.implementation.cache_tag}.pyc",
                posix.O_RDONLY | posix.O_CLOEXEC,
            )
        except OSError:
            return None
        try:
            data = posix.read(fd, LIMIT_BYTES)
        finally:
            posix.close(fd)
        words = (0, int(status.st_mtime), status.st_size)
        header = MAGIC_NUMBER + b"".join((n & 0xFFFFFFFF).to_bytes(4, "little") for n in words)
        if data[:_HEADER_BYTES] != header or len(data) == LIMIT_BYTES:
            return None
        code = marshal.loads(memoryview(data)[_HEADER_BYTES:])
        return ModuleSpec(name, Finder, origin=source, loader_state=code)  # type: ignore[arg-type]  # as above

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """An ordinary module."""

    @staticmethod
    def exec_module(module: type(sys)) -> None:  # type: ignore[valid-type]  # what a module is
        """Run the module's code, once; the package itself has none."""
        spec = module.__spec__
        if spec.loader_state is not None:
            code, spec.loader_state = spec.loader_state, None
            exec(code, module.__dict__)


class _Future:
    """In the place of ``__future__``: a future statement imports it and makes no use of it."""

    annotations = None

    def __getattr__(self, name: str) -> object:
        if name in ("__spec__", "__path__"):  # the import statement itself asks
            raise AttributeError(name)
        del sys.modules["__future__"]
        return getattr(__import__("__future__"), name)


def install() -> None:
    """From here on pyconmon's modules are found by ``Finder``."""
    sys.meta_path.insert(0, Finder)
    sys.modules.setdefault("__future__", _Future())  # type: ignore[arg-type]  # enough of a module
