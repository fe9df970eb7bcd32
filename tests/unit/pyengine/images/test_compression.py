from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyengine.errors import ArchiveError
from pyengine.images import compression
from pyengine.storage import layer_stream

TAR = b"".join(bytes([n % 251]) * 5000 for n in range(1000))


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without isal, which some processors do not have."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    else:
        pytest.importorskip("isal")
    return str(request.param)


def pieces(data: bytes, size: int = 70_000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("form", compression.FORMATS)
def test_what_is_compressed_comes_out_as_it_was(library: str, form: str) -> None:
    packed = [b"".join(compression.compressed(pieces(TAR), form, None)) for _ in range(2)]
    assert packed[0] == packed[1]
    if form == "gzip":
        assert gzip.decompress(packed[0]) == TAR
        assert (
            layer_stream.fastest_zlib().__name__
            == {"isal": "isal.isal_zlib", "zlib": "zlib"}[library]
        )
    out = list(compression.uncompressed(pieces(packed[0]), "label"))
    assert b"".join(out) == TAR
    assert max(map(len, out)) <= 1 << 20


def test_members_and_padding_of_gzip_follow_one_another(library: str) -> None:
    del library
    packed = gzip.compress(TAR) + bytes(100) + gzip.compress(b"more") + bytes(7)
    assert b"".join(compression.uncompressed(pieces(packed), "label")) == TAR + b"more"


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_damage_is_told(library: str, form: str) -> None:
    del library
    packed = bytearray(b"".join(compression.compressed(pieces(TAR), form, None)))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1] ^= 0xFF
    with pytest.raises(ArchiveError, match=rf"^label: its {form} data is damaged: "):
        list(compression.uncompressed(pieces(bytes(packed)), "label"))


def test_a_missing_end_of_gzip_is_told(library: str) -> None:
    del library
    packed = gzip.compress(TAR)
    with pytest.raises(ArchiveError, match="label: its gzip data ends too early"):
        list(compression.uncompressed(pieces(packed[:-4]), "label"))


def test_reading_ahead_gives_the_same_and_the_same_errors(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(gzip.compress(TAR))
    digests = []
    for ahead in (False, True):
        with path.open("rb") as file:
            stream = layer_stream.LayerStream(file.fileno())
            if ahead:
                stream.read_ahead()
            assert stream.read(100) == TAR[:100]
            stream.seek(4_000_000)
            assert bytes(stream.take(10)) == TAR[4_000_000:4_000_010]
            digests.append((stream.digest(), stream.size, stream.take(1)))
    assert digests[0] == digests[1]
    path.write_bytes(gzip.compress(os.urandom(3_000_000))[:-500_000])
    with path.open("rb") as file:
        stream = layer_stream.LayerStream(file.fileno())
        stream.read_ahead()
        with pytest.raises(layer_stream.UnpackError, match="ends too early"):
            stream.digest()
