"""Device nodes, as config.json's ``linux.devices``."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def of_host() -> list[dict[str, Any]]:
    """Every device node of the host's /dev, for ``--privileged``."""
    found = []
    for directory, folders, names in os.walk("/dev"):
        if directory == "/dev":
            folders[:] = [name for name in folders if name not in ("pts", "shm", "mqueue", "fd")]
            names = [name for name in names if name not in ("console", "ptmx", "tty")]
        for name in names:
            path = f"{directory}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:  # unplugged meanwhile
                continue
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                found.append(
                    {
                        "path": path,
                        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
                        "major": os.major(status.st_rdev),
                        "minor": os.minor(status.st_rdev),
                        "fileMode": stat.S_IMODE(status.st_mode),
                        "uid": status.st_uid,
                        "gid": status.st_gid,
                    }
                )
    return found
