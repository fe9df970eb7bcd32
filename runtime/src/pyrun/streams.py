"""Standard streams for a caller that closed its own; loaded only then."""

from __future__ import annotations

import posix
import sys


def open_missing() -> None:
    """Put /dev/null in their place: no file that is opened later may take their numbers."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    for fd in (fd for fd, stream in enumerate(streams) if stream is None):
        try:
            # the lowest free number, so it is this one
            posix.set_inheritable(posix.open("/dev/null", posix.O_RDWR), True)
        except OSError as error:
            posix.write(2, f"pyrun: open /dev/null for stream {fd}: {error.strerror}\n".encode())
            posix._exit(1)
        if fd == 1:
            sys.stdout = open(fd, "w", closefd=False)
        elif fd == 2:
            sys.stderr = open(fd, "w", closefd=False)
