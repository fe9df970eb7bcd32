"""Who owns standard input, output and error."""

from __future__ import annotations

import _stat
import posix


def give(uid: int) -> None:
    """Let the container's user open /dev/stdout and the others again, pipes and terminals.

    /dev/null stays root's: it would be the host's own that changes hands.
    """
    for fd in range(3):
        try:
            info = posix.fstat(fd)
        except OSError:  # closed by the caller
            continue
        null = _stat.S_ISCHR(info.st_mode) and info.st_rdev == posix.makedev(1, 3)
        if null or info.st_uid == uid or _stat.S_ISREG(info.st_mode):
            continue
        try:
            posix.fchown(fd, uid, -1)
        except OSError:
            # not mapped, or read-only: the process still has its descriptor
            continue
