"""The process: argv in, exit status out."""

import posix
import sys

# The launcher starts Python with -I -S, so nothing but the standard library is on the path.
sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])
# Names of files in directories that were searched so far; what follows takes their memory.
sys.path_importer_cache.clear()

if None in (sys.stdin, sys.stdout, sys.stderr):
    from pyconmon import streams

    streams.open_missing()

from pyconmon import cli  # noqa: E402 - not found before the lines above

status, given = cli.read(sys.argv[1:])
if given is not None:
    # What read the command line makes room for what stays resident (docs/adr/0017).
    vars(sys.modules.pop("pyconmon.options")).clear()
    vars(sys.modules.pop("pyconmon.cli")).clear()
    from pyconmon import monitor

    status = monitor.main(given)
try:
    sys.stdout.flush()
except OSError:
    status = status or 1
posix._exit(
    status
)  # finalising the interpreter costs 1-2 ms and releases nothing the kernel does not
