"""Reads containers' log files, rotated ones included, and follows them without polling.

A record is ``TIME STREAM F|P TEXT`` (k8s-file) or docker's JSON object (json-file). The files of
one log are ``LOG.N`` ... ``LOG.1``, ``LOG``, the oldest first. A monitor renames them and never
writes to one that it has renamed.
"""

from __future__ import annotations

import os
import select
import time

from pyengine import jsontext, syscalls
from pyengine.errors import NotFoundError
from pyengine.monitor.exits import earlier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pyengine.containers import journal
    from pyengine.monitor.exits import Watch

    Test = Callable[["Line"], bool]

CHUNK_BYTES = 1 << 16
MAX_FILES = 1000
_CHANGES = syscalls.IN_MODIFY | syscalls.IN_MOVED_TO


class Line:
    """One line of output, or what there is of it.

    Attributes:
        time: when its first part was written, RFC 3339.
        stream: ``stdout`` or ``stderr``.
        partial: its end has not been written (yet).
        continued: its beginning was given as a partial line.
    """

    __slots__ = ("continued", "partial", "stream", "text", "time")

    def __init__(self, time: str, stream: str, text: bytes, *, partial: bool) -> None:
        self.time, self.stream, self.text, self.partial = time, stream, text, partial
        self.continued = False


def _record(raw: bytes) -> Line | None:
    """A line of the file; none for what is no record, such as one cut short by a power cut."""
    if raw.startswith(b"{"):
        try:
            fields = jsontext.loads(raw)
            text = str(fields["log"]).encode("utf-8", "surrogateescape")
            at, stream = str(fields["time"]), str(fields["stream"])
        except (ValueError, KeyError, TypeError):
            return None
        return Line(at, stream, text.removesuffix(b"\n"), partial=not text.endswith(b"\n"))
    pieces = raw.split(b" ", 3)
    if len(pieces) != 4:
        return None
    at = pieces[0].decode("ascii", "replace").replace("+00:00", "Z")
    partial = pieces[2].startswith(b"P")
    return Line(at, pieces[1].decode("ascii", "replace"), pieces[3], partial=partial)


class Log:
    """One container's log, read on from call to call."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = _newer_than(path, None)
        self._rest = b""
        self._open_lines: dict[str, Line] = {}

    @property
    def exists(self) -> bool:
        """Whether there is any file."""
        return bool(self._files)

    def lines(self) -> Iterator[Line]:
        """Whole lines written since the last call, the parts of each joined."""
        while True:
            while self._files:
                yield from self._whole(self._files[0])
                if len(self._files) == 1:
                    break
                os.close(self._files.pop(0))
            newer = _newer_than(self._path, self._files[0] if self._files else None)
            if not newer:
                return
            if self._files:  # renamed meanwhile: nothing more will be written to it
                yield from self._whole(self._files[0])
                os.close(self._files.pop())
            self._files = newer

    def unfinished(self) -> Iterator[Line]:
        """The beginnings of lines that have no end; what follows them is ``continued``."""
        for stream, line in self._open_lines.items():
            if line.text:
                yield line
                rest = Line(line.time, stream, b"", partial=True)
                rest.continued = True
                self._open_lines[stream] = rest

    def close(self) -> None:
        """Close the files."""
        for fd in self._files:
            os.close(fd)
        self._files = []

    def _whole(self, fd: int) -> Iterator[Line]:
        while data := os.read(fd, CHUNK_BYTES):
            *raws, self._rest = (self._rest + data).split(b"\n")
            for raw in raws:
                line = _record(raw)
                if line is None:
                    continue
                begun = self._open_lines.pop(line.stream, None)
                if begun is not None:
                    begun.text += line.text
                    begun.partial = line.partial
                    line = begun
                if line.partial:
                    self._open_lines[line.stream] = line
                else:
                    yield line


def _newer_than(path: str, known_fd: int | None) -> list[int]:
    """Descriptors of the files after ``known_fd``'s, all without one; the oldest first.

    They are opened from the newest on, so that a rotation meanwhile makes one appear twice, and
    none be missed.
    """
    found: list[int] = []
    seen = [] if known_fd is None else [os.fstat(known_fd)]
    missing = 0
    for number in range(MAX_FILES):
        name = f"{path}.{number}" if number else path
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            missing += 1
            if missing == 3:  # one may just be renamed
                break
            continue
        status = os.fstat(fd)
        if known_fd is not None and os.path.samestat(status, seen[0]):
            os.close(fd)
            break
        if any(os.path.samestat(status, one) for one in seen):
            os.close(fd)
            continue
        seen.append(status)
        found.append(fd)
    return found[::-1]


def read(path: str, tail: int | None, wanted: Test) -> Iterator[Line]:
    """The lines there are, those at the end first limited to ``tail``, then those ``wanted``."""
    log = Log(path)
    try:
        yield from filter(wanted, _present(log, tail))
    finally:
        log.close()


def _present(log: Log, tail: int | None) -> Iterable[Line]:
    def every() -> Iterator[Line]:
        yield from log.lines()
        yield from log.unfinished()

    if tail is None:
        return every()
    from _collections import deque  # type: ignore[import-not-found]  # collections costs 2 ms

    return list(deque(every(), tail))


class Follower:
    """One container whose log is followed until it has ended."""

    def __init__(
        self, path: str, tail: int | None, wanted: Test, watch: Watch, write: Callable[[Line], None]
    ) -> None:
        """``write`` is called with each line.

        Raises:
            NotFoundError: it has no log file.
        """
        self._wanted, self._watch, self._write = wanted, watch, write
        self._inotify_fd = syscalls.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            syscalls.inotify_add_watch(self._inotify_fd, os.path.dirname(path), _CHANGES)
            self._log = Log(path)
            if not self._log.exists:
                raise NotFoundError(f"log file {path}: No such file or directory")
        except BaseException:
            os.close(self._inotify_fd)
            raise
        for line in filter(wanted, _present(self._log, tail)):
            write(line)

    def fds(self) -> list[int]:
        """What to poll for."""
        return [self._inotify_fd, *self._watch.fds()]

    def limit_ms(self) -> float | None:
        """For how long, at most."""
        return self._watch.limit_ms()

    def go_on(self) -> bool:
        """Pass on what has come; false when the container has ended."""
        try:
            os.read(self._inotify_fd, CHUNK_BYTES)
        except BlockingIOError:
            pass
        ended, _ = self._watch.poll_result()
        # What was written before the end is read after it was noticed.
        for line in filter(self._wanted, _present(self._log, None)):
            self._write(line)
        return not ended

    def close(self) -> None:
        """Close everything but the watch."""
        self._log.close()
        os.close(self._inotify_fd)


def follow(followers: Sequence[Follower | journal.Follower], until_s: float | None) -> None:
    """Follow several logs until all containers have ended, or until this time."""
    going = [one for one in followers if one.go_on()]
    while going:
        left_ms = None if until_s is None else (until_s - time.time()) * 1000
        if left_ms is not None and left_ms <= 0:
            return
        poller = select.poll()
        for one in going:
            for fd in one.fds():
                poller.register(fd, select.POLLIN)
        poller.poll(earlier(left_ms, *(one.limit_ms() for one in going)))
        going = [one for one in going if one.go_on()]
