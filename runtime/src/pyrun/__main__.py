"""The process: argv in, exit status out."""

import gc
import posix
import sys
from _frozen_importlib_external import SourceFileLoader

gc.disable()  # searching for garbage while modules are made takes 2 ms of run, and finds none
# The launcher executes the compiled file where there is one, which saves 0.4 ms.
directory = __file__.rpartition("/")[0].removesuffix("/__pycache__")
# The launcher starts Python with -I -S, so nothing but the standard library is on the path.
sys.path.append(directory.rpartition("/")[0])
# Without a search of the path.
loader = type(sys)("pyrun.loader")
loader.__file__ = f"{directory}/loader.py"
code = SourceFileLoader(loader.__name__, loader.__file__).get_code(loader.__name__)
exec(code, loader.__dict__)  # type: ignore[arg-type]  # there is code where there is a source
loader.install()

if None in (sys.stdin, sys.stdout, sys.stderr):
    from pyrun import streams

    streams.open_missing()

from pyrun import cli  # noqa: E402 - from here on the loader finds the modules

status = cli.main(sys.argv[1:])
try:
    sys.stdout.flush()
except OSError:
    status = status or 1
posix._exit(
    status
)  # finalising the interpreter costs 1-2 ms and releases only what the kernel does
