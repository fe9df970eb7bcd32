"""The process: argv in, exit status out."""

import gc
import posix
import sys
import time
from _frozen_importlib_external import SourceFileLoader

# Files younger than this are not those that are loaded now; their times lag by a tick of the clock.
began_ns = time.time_ns() - 20_000_000
gc.disable()  # until the modules are made, which sets it off often and leaves it nothing to find
# The launcher executes the compiled file where there is one.
directory = __file__.rpartition("/")[0].removesuffix("/__pycache__")
# The launcher starts Python with -I -S, so nothing but the standard library is on the path.
sys.path.append(directory.rpartition("/")[0])
# Names of files in directories that were searched so far; what follows takes their memory.
sys.path_importer_cache.clear()
# Without a search of the path.
loader = type(sys)("pyconmon.loader")
loader.__file__ = f"{directory}/loader.py"
code = SourceFileLoader(loader.__name__, loader.__file__).get_code(loader.__name__)
sys.modules[loader.__name__] = loader
exec(code, loader.__dict__)  # type: ignore[arg-type]  # there is code where there is a source
loader.install()

if None in (sys.stdin, sys.stdout, sys.stderr):
    from pyconmon import streams

    streams.open_missing()

from pyconmon import cli  # noqa: E402 - from here on the loader finds the modules

status, given = cli.read(sys.argv[1:])
if given is not None:
    # What read the command line makes room for what stays resident (docs/adr/0017). Orders may
    # load it again, so that the package must not offer what is left.
    for name in ("options", "cli"):
        vars(sys.modules.pop(f"pyconmon.{name}")).clear()
        delattr(sys.modules["pyconmon"], name)
    from pyconmon import monitor

    gc.enable()
    status = monitor.main(given, began_ns)
try:
    sys.stdout.flush()
except OSError:
    status = status or 1
posix._exit(
    status
)  # finalising the interpreter costs 1-2 ms and releases nothing the kernel does not
