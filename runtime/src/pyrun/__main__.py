"""The process: argv in, exit status out; and how it imports its modules (docs/adr/0011).

Import statements call ``builtins.__import__``, so that is what ``install`` replaces: one stat of
the source, one read of the ``.pyc``, and none of the thirty calls that importlib makes for each
module. Anything unusual, such as a module that has not been compiled or has changed since, is left
to importlib, which compiles it as ever. Packages of pyrun have an empty ``__init__``, which is not
even opened. ``from __future__ import annotations`` here would come before ``install``.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import builtins
import gc
import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, ModuleType

# The launcher executes the compiled file where there is one, which saves 0.4 ms.
_TOP = __file__.rpartition("/")[0].removesuffix("/__pycache__")
_TAIL = f".{sys.implementation.cache_tag}.pyc"
_HEADER_BYTES = 16  # magic number, flags, and the source's time and size, four bytes each
_HEADER = MAGIC_NUMBER + b"\0\0\0\0"
_LIMIT_BYTES = 1 << 16  # malloc takes more from the kernel, and gives it back, each time
_OURS = "pyrun."

# What ``from __future__ import annotations`` gets, and makes no use of: it saves 0.5 ms.
_future = type(sys.implementation)(annotations=None)  # type: ignore[call-arg]  # SimpleNamespace
_import = builtins.__import__
_modules = sys.modules


def import_module(
    name: str,
    globals: "Mapping[str, object] | None" = None,  # noqa: A002 - so it is called
    locals: "Mapping[str, object] | None" = None,  # noqa: A002 - so it is called
    fromlist: "Sequence[str] | None" = (),
    level: int = 0,
) -> "ModuleType":
    """In the place of ``builtins.__import__``."""
    if name == "__future__" and fromlist == ("annotations",):
        return _future  # type: ignore[return-value]  # enough of a module
    if fromlist and (name.startswith(_OURS) or name == "pyrun"):
        module = _modules.get(name) or _load(name)
        if module is not None and _has(module, fromlist):
            return module
    return _import(name, globals, locals, fromlist, level)


def _has(module: "ModuleType", fromlist: "Sequence[str]") -> bool:
    """Whether ``module`` has each name, as a module of its own at the latest now."""
    known = module.__dict__  # hasattr makes an exception of what is not there
    for item in fromlist:
        if item not in known:
            name = f"{module.__name__}.{item}"
            if "__path__" not in known or not (_modules.get(name) or _load(name)):
                return False
    return True


def _load(name: str) -> "ModuleType | None":
    """Import a module of pyrun, or its package; None has importlib do it."""
    path = _TOP + name[5:].replace(".", "/")
    code = None
    try:
        source = posix.stat(f"{path}.py")
    except OSError:
        if not _is_empty_package(path):
            return None
    else:
        code = _compiled(path, source)
        if code is None:
            return None
    above, _, last = name.rpartition(".")
    parent = _modules.get(above) or (_load(above) if above else None)
    if above and parent is None:
        return None
    module = type(sys)(name)
    spec = ModuleSpec(name, None, origin=f"{path}.py", is_package=code is None)
    module.__spec__ = spec
    module.__package__ = name if code is None else above
    if code is None:
        module.__path__ = spec.submodule_search_locations = [path]
    else:
        module.__file__ = spec.origin
    _modules[name] = module
    if code is not None:
        try:
            exec(code, module.__dict__)
        except BaseException:
            del _modules[name]
            raise
    if parent is not None:
        setattr(parent, last, module)
    return module


def _is_empty_package(path: str) -> bool:
    try:
        return posix.stat(f"{path}/__init__.py").st_size == 0
    except OSError:
        return False


def _compiled(path: str, source: posix.stat_result) -> "CodeType | None":
    """The code in a .pyc that belongs to this source (PEP 552), or None."""
    directory, _, last = path.rpartition("/")
    try:
        fd = posix.open(f"{directory}/__pycache__/{last}{_TAIL}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = posix.read(fd, _LIMIT_BYTES)
    finally:
        posix.close(fd)
    stamp = (source.st_size & 0xFFFFFFFF) << 32 | int(source.st_mtime) & 0xFFFFFFFF
    if data[:8] != _HEADER or int.from_bytes(data[8:_HEADER_BYTES], "little") != stamp:
        return None
    if len(data) == _LIMIT_BYTES:
        return None
    code: CodeType = marshal.loads(memoryview(data)[_HEADER_BYTES:])
    return code


def install() -> None:
    """From here on ``import_module`` imports pyrun's modules, unless -X importtime is to see it."""
    if "importtime" not in sys._xoptions:
        builtins.__import__ = import_module


def run() -> None:
    """The process; never returns."""
    interrupt = _signal.getsignal(_signal.SIGINT)
    if interrupt is not _signal.SIG_IGN:  # ctrl-c just ends what has not begun
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    gc.disable()  # searching for garbage while modules are made takes 2 ms of run, and finds none
    # The launcher starts Python with -I -S, so nothing but the standard library is on the path.
    sys.path.append(_TOP.rpartition("/")[0])
    install()
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from pyrun import streams

        streams.open_missing()

    from pyrun import cli

    _signal.signal(_signal.SIGINT, interrupt)
    status = cli.main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        status = status or 1
    # Finalising the interpreter costs 1-2 ms and releases only what the kernel does.
    posix._exit(status)


if __name__ == "__main__":
    run()
