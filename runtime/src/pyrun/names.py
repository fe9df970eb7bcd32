"""File names and the environment: what ``os`` adds to ``posix``.

``os`` takes 2 ms to import, most of it for the classes of ``os.environ`` (docs/adr/0002), so pyrun
calls ``posix``, which ``os`` is made of, and finds the rest here.
"""

from __future__ import annotations

import posix
import sys


def environment(name: str) -> str:
    """The value of a variable, or an empty string."""
    return decode(posix.environ.get(encode(name), b""))


def encode(text: str) -> bytes:
    """A name as the kernel has it."""
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")


def decode(name: bytes) -> str:
    """The reverse of ``encode``."""
    return name.decode(sys.getfilesystemencoding(), "surrogateescape")


def exists(path: str) -> bool:
    """Whether there is something at the end of all links."""
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


def is_dir(path: str) -> bool:
    """Whether there is a directory at the end of all links."""
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except (OSError, ValueError):
        return False


def dirname(path: str) -> str:
    """Everything before the last slash; of ``/a`` it is ``/``."""
    head, slash, _ = path.rpartition("/")
    return head or slash


def basename(path: str) -> str:
    """Everything after the last slash."""
    return path.rpartition("/")[2]


def join(directory: str, path: str) -> str:
    """``path``, below ``directory`` unless it is absolute."""
    return path if path.startswith("/") else f"{directory.rstrip('/')}/{path}"


def normal(path: str) -> str:
    """Without empty parts, ``.``, and ``..`` where a part before it can go; links are not read."""
    top = "/" if path.startswith("/") else ""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".", "..") or (part == ".." and not top):
            parts.append(part)
    return top + "/".join(parts) or "."


def absolute(path: str) -> str:
    """From the root, and normal."""
    return normal(path if path.startswith("/") else f"{posix.getcwd()}/{path}")


def real(path: str) -> str:
    """From the root and without links; only ``absolute`` where there is nothing."""
    try:
        fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    except OSError:
        return absolute(path)
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


def make_directories(path: str, mode: int) -> None:
    """Make a directory with its parents; one that is there already is right."""
    todo = [path]
    while True:
        try:
            _mkdir(todo[-1], 0o777 if len(todo) > 1 else mode)
            break
        except FileNotFoundError:
            above = dirname(todo[-1])
            if above == todo[-1]:
                raise
            todo.append(above)
    # procfs has no such file once more: no reason to begin again
    for missing in todo[-2::-1]:
        _mkdir(missing, mode if missing == path else 0o777)


def _mkdir(path: str, mode: int) -> None:
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        if not is_dir(path):
            raise
