"""The pipes that the caller (podman, CRI-O, pyengine) names in the environment."""

from __future__ import annotations

import fcntl
import posix

from pyconmon import diagnostics
from pyconmon.errors import MonitorError

JSON_ESCAPES = {
    ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t",
    **{code: f"\\u{code:04x}" for code in (*range(9), 11, 12, *range(14, 32), 127)},
}  # fmt: skip


def pipe_from_environment(name: str) -> int:
    """The descriptor whose number the variable holds, or -1 when it is not set.

    Raises:
        MonitorError: the variable holds no open descriptor.
    """
    text = posix.environ.get(name.encode())
    if text is None:
        return -1
    try:
        fd = int(text)
    except ValueError:
        raise MonitorError(f"unable to parse {name}: {text!r} is no number") from None
    try:
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    except (OSError, OverflowError, ValueError):
        raise MonitorError(f"unable to make {name} CLOEXEC: no descriptor {fd} is open") from None
    return fd


def wait_for_start(fd: int) -> None:
    """Wait until the caller writes to the start pipe or closes it.

    Raises:
        MonitorError: the pipe cannot be read.
    """
    try:
        posix.read(fd, 8192)
    except OSError as error:
        raise MonitorError("start-pipe read failed", error) from error


class ResultPipe:
    """Takes conmon's JSON lines: the sync pipe, or the attach pipe.

    The key of the number is ``data`` since api version 1, ``exit_code`` for an exec before it and
    ``pid`` otherwise.
    """

    __slots__ = ("_fd", "_key")

    def __init__(self, fd: int, key: str) -> None:
        self._fd = fd
        self._key = key

    def fileno(self) -> int:
        """The descriptor, or -1 when there is none (any more)."""
        return self._fd

    def state(self) -> tuple[int, str]:
        """What another program of this process makes it of again."""
        return self._fd, self._key

    def send(self, number: int, message: str = "") -> None:
        """Write one line. A caller that has gone needs no answer and is no failure."""
        if self._fd < 0:
            return
        tail = f', "message": "{message.translate(JSON_ESCAPES)}"' if message else ""
        line = diagnostics.encode(f'{{"{self._key}": {number}{tail}}}\n')
        try:
            while line:
                line = line[posix.write(self._fd, line) :]
        except OSError as error:
            diagnostics.warn(f"Unable to report {number} to the caller: {error.strerror}")
            self.close()

    def close(self) -> None:
        """Tell the caller that nothing more will come."""
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1
