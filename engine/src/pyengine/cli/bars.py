"""Progress on a terminal, one line for each blob, as podman draws it."""

from __future__ import annotations

import os
import sys
import threading
import time

from pyengine.images.reporting import BlobReport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_PAUSE_S = 0.1
_MAX_COLUMNS = 120
_MIN_BAR = 10
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Bars(BlobReport):
    """Lines of blobs are drawn again in place until another line follows them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Draw on ``stream``, a terminal; None for standard error."""
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._blobs: dict[str, _Blob] = {}
        self._drawn = 0  # lines above the cursor that can be drawn again
        self._drawn_at = 0.0

    def __call__(self, line: str) -> None:
        """As in the base class."""
        words = line.split(" ", 3)
        with self._lock:
            if words[0] == "Copying" and words[1] in ("blob", "config") and len(words) > 2:
                self._begin(f"{words[0]} {words[1]}", words[2], "".join(words[3:]))
                return
            self._draw()
            self._blobs.clear()
            self._drawn = 0
            print(line, file=self._stream, flush=True)

    def advance(self, digest: str, position: int, total: int) -> None:
        """As in the base class."""
        with self._lock:
            blob = self._blobs.get(digest)
            if blob is None:
                return
            blob.position, blob.total = position, total
            if time.monotonic() - self._drawn_at >= _PAUSE_S:
                self._draw()

    def finish(self, digest: str) -> None:
        """As in the base class."""
        with self._lock:
            blob = self._blobs.get(digest)
            if blob is not None:
                blob.end = "done"
                self._draw()

    def _begin(self, what: str, digest: str, end: str) -> None:
        # A config is so small that it is there when it is spoken of.
        blob = _Blob(f"{what} {digest.removeprefix('sha256:')[:12]}", end)
        blob.end = blob.end or ("done" if what == "Copying config" else "")
        self._blobs.setdefault(digest, blob)
        self._draw()

    def _draw(self) -> None:
        columns = _columns(self._stream)
        lines = [blob.line(columns) for blob in self._blobs.values()]
        up = f"\033[{self._drawn}A\033[J" if self._drawn else ""
        text = "".join(f"{line}\n" for line in lines)
        if up or text:
            print(f"{up}{text}", end="", file=self._stream, flush=True)
        self._drawn, self._drawn_at = len(lines), time.monotonic()


class _Blob:
    """One line."""

    __slots__ = ("end", "label", "position", "total")

    def __init__(self, label: str, end: str) -> None:
        self.label, self.end = label, end
        self.position = self.total = 0

    def line(self, columns: int) -> str:
        """At most ``columns`` wide, so that it can be drawn again in place."""
        if self.end:
            return f"{self.label} {self.end}"[:columns]
        if not self.total:
            return self.label[:columns]
        counts = f"{_size(self.position)} / {_size(self.total)}"
        width = columns - len(self.label) - len(counts) - 5
        if width < _MIN_BAR:
            return f"{self.label} {counts}"[:columns]
        filled = width * min(self.position, self.total) // self.total
        head = ">" if filled < width else "="
        bar = ("=" * (filled - 1) + head if filled else "").ljust(width, "-")
        return f"{self.label} [{bar}] {counts}"


def _columns(stream: TextIO) -> int:
    try:
        return min(os.get_terminal_size(stream.fileno()).columns or 80, _MAX_COLUMNS)
    except (OSError, ValueError):  # no terminal after all
        return 80


def _size(count: int) -> str:
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{count}{unit}" if unit == "B" else f"{value:.1f}{unit}"
