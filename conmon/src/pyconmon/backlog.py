"""What a client that reads slowly has yet to get, in a file without a name.

Loaded for the first client that lags: most never do.
"""

from __future__ import annotations

import posix

_LENGTH_BYTES = 2
_REFILL_BYTES = 1 << 18


class Backlog:
    """A queue of packets on the disk; it is gone with its descriptor."""

    __slots__ = ("_fd", "_read_at", "_write_at")

    def __init__(self, directory: str) -> None:
        """Open the file in ``directory``.

        Raises:
            OSError: its file system is full or read-only.
        """
        flags = posix.O_TMPFILE | posix.O_RDWR | posix.O_CLOEXEC
        self._fd = posix.open(directory, flags, 0o600)
        self._read_at = self._write_at = 0

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._write_at - self._read_at

    def append(self, packets: list[bytes]) -> None:
        """Put packets behind the others.

        Raises:
            OSError: the disk is full; what was written of them is not part of the queue.
        """
        text = b"".join(len(packet).to_bytes(_LENGTH_BYTES, "big") + packet for packet in packets)
        at = self._write_at
        while text:
            written = posix.pwrite(self._fd, text, at)
            at += written
            text = text[written:]
        self._write_at = at

    def take(self) -> list[bytes]:
        """Remove the next packets, some 256 KiB of them; none when the queue is empty."""
        block = posix.pread(self._fd, min(_REFILL_BYTES, self.size), self._read_at)
        packets = []
        at = 0
        while at + _LENGTH_BYTES <= len(block):
            end = at + _LENGTH_BYTES + int.from_bytes(block[at : at + _LENGTH_BYTES], "big")
            if end > len(block):
                break
            packets.append(block[at + _LENGTH_BYTES : end])
            at = end
        self._read_at += at
        if not self.size:
            posix.ftruncate(self._fd, 0)
            self._read_at = self._write_at = 0
        return packets

    def close(self) -> None:
        """Forget what waits."""
        posix.close(self._fd)
