"""What a layer's bytes may do to whoever reads them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from pyengine.storage import layer_stream
from pyengine.storage.layer_stream import LayerStream, UnpackError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": lambda data: zstandard.ZstdCompressor(1).compress(data),
}
PIECE = 1 << 20


def in_blocks(data: bytes, size: int = 1000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("how", PACKERS)
def test_what_a_few_bytes_stand_for_comes_in_pieces(how: str) -> None:
    packed = PACKERS[how](bytes(50 * PIECE))
    assert len(packed) < PIECE
    sizes = [len(piece) for piece in layer_stream.uncompressed(iter([packed]))]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 50 * PIECE


@pytest.mark.parametrize("how", PACKERS)
def test_damaged_and_cut_data_is_refused(how: str) -> None:
    data = bytes(range(256)) * 500
    packed = PACKERS[how](data)
    assert b"".join(layer_stream.uncompressed(in_blocks(packed))) == data
    middle = len(packed) // 2
    damaged = packed[: middle - 20] + bytes(40) + packed[middle + 20 :]
    for wrong in (packed[:-5], damaged):
        try:
            found = b"".join(layer_stream.uncompressed(in_blocks(wrong)))
        except UnpackError:
            continue
        assert how == "zstd"  # it has no checksum here, and the layer's digest tells
        assert found != data


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[LayerStream]:
    """Four directories."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in "abcd":
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
    with (tmp_path / "a.tar").open("rb", buffering=0) as file:
        yield LayerStream(file.fileno())


def test_a_layer_too_large_is_ended(stream: LayerStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_stream, "MAX_LAYER_BYTES", 1000)
    with pytest.raises(UnpackError, match="larger than 1000 bytes uncompressed"):
        stream.digest()


def test_a_header_too_long_is_a_trick(stream: LayerStream) -> None:
    with pytest.raises(UnpackError, match="header of 1048577 bytes is too long"):
        stream.read(layer_stream.MAX_HEADER_BYTES + 1)
