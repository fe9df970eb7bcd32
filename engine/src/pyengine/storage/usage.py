"""How much of the disk trees occupy."""

from __future__ import annotations

import os


def tree_bytes(path: str) -> int:
    """Bytes of the regular files below a directory, hard links counted once."""
    seen: set[tuple[int, int]] = set()
    total, waiting = 0, [path]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                if (found.st_dev, found.st_ino) not in seen:
                    total += found.st_size
                seen.add((found.st_dev, found.st_ino))
    return total


def written_bytes(container_directory: str) -> int:
    """Bytes in what a container has changed; with the vfs driver, in its whole root."""
    changed = f"{container_directory}/diff"
    return tree_bytes(changed if os.path.isdir(changed) else f"{container_directory}/merged")
