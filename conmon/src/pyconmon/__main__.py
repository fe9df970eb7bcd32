"""The process: argv in, exit status out."""

import posix
import sys

# The launcher starts Python with -I -S, so nothing but the standard library is on the path.
sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])

if None in (sys.stdin, sys.stdout, sys.stderr):
    from pyconmon import streams

    streams.open_missing()

from pyconmon import cli

status = cli.main(sys.argv[1:])
try:
    sys.stdout.flush()
except OSError:
    status = status or 1
posix._exit(
    status
)  # finalising the interpreter costs 1-2 ms and releases nothing the kernel does not
