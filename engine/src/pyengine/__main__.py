"""The process: argv in, exit status out."""

# Before anything that takes time: ctrl-c then just ends the process.
import _signal  # type: ignore[import-not-found]  # typeshed knows only signal

_interrupt = _signal.getsignal(_signal.SIGINT)
if _interrupt is not _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import gc  # noqa: E402 - takes a while, as what follows
import os  # noqa: E402 - as above
import sys  # noqa: E402 - as above
from _frozen_importlib_external import SourceFileLoader  # noqa: E402 - as above

# Making modules sets the search for garbage off often, and leaves it nothing to find.
gc.set_threshold(50_000)

# A caller may have closed a standard stream; the next file opened, such as the database, would
# take its number, and what a container writes would go there.
for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
    if getattr(sys, name) is None:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it is the lowest free: fd
        setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))

# What the engine makes is seen by a container's users too, whatever the caller's umask.
os.umask(0o022)

# The launcher starts Python with -I -S, so nothing but the standard library is on the path.
_packages = __file__.rpartition("/")[0].rpartition("/")[0]
sys.path.append(_packages)
if not os.path.isdir(f"{_packages}/click"):
    import site  # the dependencies live elsewhere: an editable installation, a system package

    site.main()

# Without a search of the path.
loader = type(sys)("pyengine.loader")
loader.__file__ = f"{_packages}/pyengine/loader.py"
code = SourceFileLoader(loader.__name__, loader.__file__).get_code(loader.__name__)
exec(code, loader.__dict__)  # type: ignore[arg-type]  # there is code where there is a source
loader.install()

from pyengine.cli import quick  # noqa: E402 - from here on the loader finds the modules

INTERRUPTED = 130
try:
    _signal.signal(_signal.SIGINT, _interrupt)
    status = quick.main(sys.argv[1:])
    if status is None:
        from pyengine.cli import lean

        lean.install()

        from pyengine.cli import app  # with the stand-in in place

        status = app.main(sys.argv[1:])
except KeyboardInterrupt:  # while a command was loaded
    status = INTERRUPTED
try:
    sys.stdout.flush()
except OSError:
    status = status or 1
os._exit(status)  # finalising the interpreter costs 1-2 ms and releases nothing the kernel does not
