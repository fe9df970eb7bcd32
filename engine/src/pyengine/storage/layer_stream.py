"""A layer's tar as it is read: decompressed, hashed and counted, member by member.

What takes its compression apart is imported with the first block, because later, in the confined
process that unpacks it, the files are out of reach.
"""

from __future__ import annotations

import hashlib
import os
import queue
import tarfile
import threading
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

MAX_LAYER_BYTES = 1 << 40
MAX_HEADER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_BLOCKS_AHEAD = 4

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
XATTR = "SCHILY.xattr."


class UnpackError(Exception):
    """The layer is broken or holds something that is not allowed."""


class LayerStream:
    """The uncompressed tar, hashed and counted while it is read; seeks forward only."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = memoryview(b"")
        self._position = 0
        self._hash = hashlib.sha256()
        self.size = 0
        self._ahead: queue.Queue[bytes | BaseException] | None = None
        self._ended = False
        self._blocks = uncompressed(_blocks_of(fd))

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; for headers, so a huge one is a trick."""
        if size > MAX_HEADER_BYTES:
            raise UnpackError(f"a member's header of {size} bytes is too long")
        parts = []
        while size > 0 and (piece := self.take(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)

    def take(self, limit: int) -> memoryview:
        """The next bytes, at most ``limit`` of them; empty at the end."""
        if not self._buffer:
            self._buffer = memoryview(self._take_block())
        piece = self._buffer[:limit]
        self._buffer = self._buffer[limit:]
        self._position += len(piece)
        return piece

    def tell(self) -> int:
        """The position in the uncompressed tar."""
        return self._position

    def seek(self, position: int) -> None:
        """Skip to a later position, or to the end if that comes first."""
        while self._position < position and self.take(position - self._position):
            pass

    def read_ahead(self) -> None:
        """Decompress and hash in a thread of its own from now on, beside whoever reads."""
        self._ahead = queue.Queue(_BLOCKS_AHEAD)
        threading.Thread(target=self._fill, args=(self._ahead,), daemon=True).start()

    def _fill(self, ahead: queue.Queue[bytes | BaseException]) -> None:
        try:
            while block := self._next_block():
                ahead.put(block)
            ahead.put(b"")
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads
            ahead.put(error)

    def _next_block(self) -> bytes:
        block = next(self._blocks, b"")
        self._hash.update(block)
        self.size += len(block)
        if self.size > MAX_LAYER_BYTES:
            raise UnpackError(f"it is larger than {MAX_LAYER_BYTES} bytes uncompressed")
        return block

    def _take_block(self) -> bytes:
        if self._ahead is None:
            return self._next_block()
        if self._ended:
            return b""
        block = self._ahead.get()
        if isinstance(block, BaseException):
            raise block
        self._ended = not block
        return block

    def digest(self) -> str:
        """Read the rest; the ``sha256:...`` of everything."""
        while self.take(_CHUNK_BYTES):
            pass
        return f"sha256:{self._hash.hexdigest()}"


def _blocks_of(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _CHUNK_BYTES):
        yield data


def uncompressed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """A layer's tar, whatever it is compressed with, in pieces of bounded size.

    The first block is read at once, and what takes the compression apart is imported. No piece is
    empty: a few bytes of a slow transfer may not yield any yet.

    Raises:
        UnpackError: later: it is damaged.
    """
    first = b""
    while len(first) < 4 and (block := next(blocks, b"")):
        first += block
    whole = _chained(first, blocks)
    if first.startswith(b"\x1f\x8b"):
        return filter(None, _gunzip(whole, fastest_zlib()))
    if first.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard  # now: later its files are out of reach

        return filter(None, _unzstd(zstandard, whole))
    if first.startswith(b"BZh"):
        import bz2

        return filter(None, _pressed_out(bz2.BZ2Decompressor, OSError, whole))
    if first.startswith(b"\xfd7zX"):
        import lzma

        return filter(None, _pressed_out(lzma.LZMADecompressor, lzma.LZMAError, whole))
    return filter(None, whole)


def _chained(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from blocks


def fastest_zlib() -> Any:
    """The module isal, twice as fast, with zlib's names, where it is installed (docs/adr/0029)."""
    try:
        from isal import isal_zlib
    except ImportError:  # there are processors it does not know
        return zlib
    return isal_zlib


def _gunzip(blocks: Iterator[bytes], library: Any) -> Iterator[bytes]:
    member = library.decompressobj(31)
    begun = False
    for block in blocks:
        data = block
        while data:
            begun = True
            try:
                piece = member.decompress(data, _CHUNK_BYTES)
            except library.error as error:
                raise UnpackError(f"its gzip data is damaged: {error}") from error
            yield piece
            data = member.unconsumed_tail
            if member.eof:
                data = member.unused_data.lstrip(b"\0")  # padding between or after members
                member = library.decompressobj(31)
                begun = False
    if begun:
        raise UnpackError("its gzip data ends too early")


def _pressed_out(
    make: Callable[[], Any], damage: type[Exception], blocks: Iterator[bytes]
) -> Iterator[bytes]:
    """Bzip2 and xz, in pieces of bounded size, one stream after the other."""
    stream, begun = make(), False
    for block in blocks:
        data = block
        while data or (begun and not stream.needs_input):
            begun = True
            try:
                piece = stream.decompress(data, _CHUNK_BYTES)
            except (OSError, damage) as error:
                raise UnpackError(f"its compressed data is damaged: {error}") from error
            yield piece
            data = b""
            if stream.eof:
                data = stream.unused_data.lstrip(b"\0")
                stream, begun = make(), False
    if begun:
        raise UnpackError("its compressed data ends too early")


class _Blocks:
    """Blocks as a file, for readers that want one."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def read(self, size: int) -> bytes:  # noqa: ARG002 - a shorter answer is always allowed
        return next(self._blocks, b"")


def _unzstd(library: Any, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """In pieces of bounded size: a few bytes of zstd may stand for gigabytes."""
    decompressor = library.ZstdDecompressor()
    reader = decompressor.stream_reader(_Blocks(blocks), read_across_frames=True)
    try:
        while data := reader.read(_CHUNK_BYTES):
            yield data
    except library.ZstdError as error:
        raise UnpackError(f"its zstd data is damaged: {error}") from error


def members_of(stream: LayerStream) -> Iterator[tarfile.TarInfo]:
    """The members of a layer's tar, one at a time; no bytes at all are a layer without any.

    Raises:
        tarfile.TarError: it is none.
    """
    try:
        archive = tarfile.TarFile(
            fileobj=stream,  # type: ignore[arg-type]  # all that tarfile calls
            encoding="utf-8",
            errors="surrogateescape",
        )
    except tarfile.ReadError:
        if stream.size:
            raise
        return
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
        yield member


def member_parts(name: str) -> list[str]:
    """A member's path from the layer's root; a leading slash means that root, as for podman."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnpackError(f"the path {name} leads out of the layer")
    return parts
