"""Reads a container's log file: ``TIME STREAM F|P TEXT``, the k8s-file format of conmon."""

from __future__ import annotations

import os
import select

from pyengine import syscalls
from pyengine.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyengine.monitor.exits import Watch

CHUNK_BYTES = 1 << 16


class Line:
    """One record; ``partial`` when the container wrote no newline at its end."""

    __slots__ = ("partial", "stream", "text", "time")

    def __init__(self, raw: bytes) -> None:
        time, stream, tag, text = [*raw.split(b" ", 3), b"", b"", b""][:4]
        self.time, self.stream = (
            time.decode("ascii", "replace").replace("+00:00", "Z"),
            stream.decode("ascii", "replace"),
        )
        self.partial, self.text = tag.startswith(b"P"), text


def read(path: str, tail: int | None = None) -> Iterator[Line]:
    """The records there are; ``tail`` limits them to the last so many lines."""
    lines = list(_records(path)) if tail is not None else _records(path)
    if tail is None:
        yield from lines
        return
    assert isinstance(lines, list)
    yield from lines[_tail_start(lines, tail) :]


def _tail_start(lines: list[Line], tail: int) -> int:
    """Where the last ``tail`` lines begin; parts of a line count as one."""
    left = tail
    for index in range(len(lines) - 1, -1, -1):
        is_end = not lines[index].partial or index == len(lines) - 1
        if is_end:
            if left == 0:
                return index + 1
            left -= 1
    return 0


def _records(path: str) -> Iterator[Line]:
    try:
        with open(path, "rb") as file:
            for raw in file:
                yield Line(raw.rstrip(b"\n"))
    except FileNotFoundError:
        return


def follow(path: str, tail: int | None, watch: Watch, write: Callable[[Line], object]) -> None:
    """Pass on what there is and what comes, until the container has ended (``watch``).

    Raises:
        NotFoundError: the log file has gone.
    """
    inotify_fd = syscalls.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            file = open(path, "rb")
        except FileNotFoundError as error:
            raise NotFoundError(f"log file {path}: {error.strerror}") from error
        with file:
            syscalls.inotify_add_watch(inotify_fd, path, syscalls.IN_MODIFY)
            lines, rest = _complete(b"", file.read())
            for line in lines if tail is None else lines[_tail_start(lines, tail) :]:
                write(line)
            ended = False
            while not ended:
                ended, _ = watch.poll_result()
                # What was written before the end is read after it was noticed.
                lines, rest = _complete(rest, file.read())
                for line in lines:
                    write(line)
                if not ended:
                    _wait([inotify_fd, *watch.fds()])
                    _drain(inotify_fd)
    finally:
        os.close(inotify_fd)


def _complete(rest: bytes, data: bytes) -> tuple[list[Line], bytes]:
    *raws, rest = (rest + data).split(b"\n")
    return [Line(raw) for raw in raws], rest


def _wait(fds: list[int]) -> None:
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    poller.poll()


def _drain(inotify_fd: int) -> None:
    try:
        os.read(inotify_fd, CHUNK_BYTES)
    except BlockingIOError:
        pass
