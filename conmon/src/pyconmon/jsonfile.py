"""The json-file driver: docker's log format, one JSON object per line of output."""

from __future__ import annotations

import time

from pyconmon import caller, logs, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.options import Options

# docker cuts a longer line here.
_LONGEST_LINE_BYTES = 16384


class JsonFile(logs.LogFile):
    """Writes whole lines: one cut inside a character could not be read back."""

    __slots__ = ("_partial",)

    def __init__(self, path: str, options: Options) -> None:
        super().__init__(path, options)
        self._partial = {logs.STDOUT: b"", logs.STDERR: b""}

    def write(self, stream: int, data: bytes) -> None:
        """Append the lines that are complete; what follows the last newline waits for more."""
        now = record.timestamp(time.time_ns())
        entries = []
        *lines, rest = (self._partial[stream] + data).split(b"\n")
        for line in lines:
            entries += self._pieces(stream, line + b"\n", now)
        while len(rest) >= _LONGEST_LINE_BYTES:
            entries.append(self._entry(stream, rest[:_LONGEST_LINE_BYTES], now))
            rest = rest[_LONGEST_LINE_BYTES:]
        self._partial[stream] = rest
        self.append_lines(entries)

    def _pieces(self, stream: int, line: bytes, now: str) -> list[bytes]:
        step = _LONGEST_LINE_BYTES
        return [
            self._entry(stream, line[start : start + step], now)
            for start in range(0, len(line), step)
        ]

    @staticmethod
    def _entry(stream: int, text: bytes, now: str) -> bytes:
        shown = text.decode("utf-8", "replace").translate(caller.JSON_ESCAPES)
        return f'{{"log":"{shown}","stream":"{logs.NAMES[stream]}","time":"{now}"}}\n'.encode()

    def finish(self, sync: bool) -> None:
        """Write the lines that never ended, and wait for the disk if ``sync`` says so."""
        now = record.timestamp(time.time_ns())
        for stream, rest in self._partial.items():
            if rest:
                self.append_lines([self._entry(stream, rest, now)])
        super().finish(sync)
