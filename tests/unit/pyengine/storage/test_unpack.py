"""The limits of what is unpacked; the files are tests/system's."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from pyengine.storage import unpack
from pyengine.storage.layer_stream import LayerStream, UnpackError


@pytest.mark.parametrize(("most", "fits"), [(4, True), (3, False)])
def test_a_member_too_many_ends_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, fits: bool
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in "abcd":
            archive.addfile(tarfile.TarInfo(name))
    written: list[str] = []
    assert unpack.MAX_MEMBERS == 1_000_000
    monkeypatch.setattr(unpack, "MAX_MEMBERS", most)
    with (tmp_path / "a.tar").open("rb", buffering=0) as file:
        unpacker = unpack.Unpacker(LayerStream(file.fileno()), user_namespace=False)
        monkeypatch.setattr(unpacker, "_unpack_member", lambda member: written.append(member.name))
        if fits:
            assert unpacker.unpack()["members"] == 4
        else:
            with pytest.raises(UnpackError, match="it has more than 3 members"):
                unpacker.unpack()
    assert written == list("abcd")[:most]
