"""Looks at the machine's cgroups, in which other tests make and remove theirs meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

TOP = "/sys/fs/cgroup"


def directories() -> Iterator[str]:
    """Every cgroup of every hierarchy.

    A container may make more levels than os.walk, which calls itself before Python 3.12, can go.
    """
    waiting = [TOP]
    while waiting:
        folder = waiting.pop()
        yield folder
        try:
            with os.scandir(folder) as entries:
                waiting += [one.path for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:  # removed meanwhile
            continue
