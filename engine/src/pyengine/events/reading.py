"""Reads the events file, and follows it across rotations without polling."""

from __future__ import annotations

import os
import select
import time

from pyengine import jsontext, syscalls
from pyengine.errors import StorageError
from pyengine.events.log import rotated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Event = dict[str, Any]

CHUNK_BYTES = 1 << 16


class _File:
    """One of the two files, read as far as it has whole lines."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        while data := os.read(self.fd, CHUNK_BYTES):
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from lines


class Reader:
    """The events there are; with a watch, also those that come."""

    def __init__(self, path: str) -> None:
        """Read the file at ``path``, and the one before it.

        Raises:
            StorageError: its directory cannot be made or watched, or it cannot be opened.
        """
        self._path = path
        self._files: list[_File] = []
        directory = os.path.dirname(path)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._inotify_fd = syscalls.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
            syscalls.inotify_add_watch(
                self._inotify_fd, directory, syscalls.IN_MODIFY | syscalls.IN_MOVED_TO
            )
            self._open(path)
            self._open(rotated(path))  # the same file, where a rotation came between the two
            self._files.reverse()
        except OSError as error:
            raise StorageError(f"read events in {directory}: {error.strerror}") from error

    def new(self) -> Iterator[Event]:
        """What has been written since the last call, everything at first."""
        for file in list(self._files):
            yield from _events(file)
        current = self._files[-1].fd if self._files else -1
        try:
            rotated_away = current < 0 or not os.path.samestat(
                os.fstat(current), os.stat(self._path)
            )
        except FileNotFoundError:  # between a rename and the next event
            return
        if rotated_away:
            while len(self._files) > 1:  # the one before may still be written to for a moment
                os.close(self._files.pop(0).fd)
            self._open(self._path)
            for file in list(self._files):
                yield from _events(file)

    def wait(self, until_s: float | None) -> None:
        """Sleep until something was written, or until this time."""
        left_ms = None if until_s is None else max(until_s - time.time(), 0) * 1000
        poller = select.poll()
        poller.register(self._inotify_fd, select.POLLIN)
        if poller.poll(left_ms):
            os.read(self._inotify_fd, CHUNK_BYTES)

    def close(self) -> None:
        """Close everything."""
        os.close(self._inotify_fd)
        for file in self._files:
            os.close(file.fd)

    def _open(self, path: str) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        if any(os.path.samestat(os.fstat(fd), os.fstat(file.fd)) for file in self._files):
            os.close(fd)
            return
        self._files.append(_File(fd))


def _events(file: _File) -> Iterator[Event]:
    for line in file.lines():
        try:
            event = jsontext.loads(line)
        except ValueError:  # unfinished: the disk was full, or the power was cut
            continue
        if isinstance(event, dict) and event.get("Type") and event.get("Status"):
            yield event
