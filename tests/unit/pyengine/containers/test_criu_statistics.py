from __future__ import annotations

from pathlib import Path

import pytest

from pyengine.containers import criu_statistics

HEADER = bytes(12)


def test_figures_of_a_restore_are_named(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    path.write_bytes(HEADER + bytes([0x12, 7, 0x18, 0xAC, 2, 0x20, 1, 0x38, 9]))
    assert criu_statistics.read(str(path)) == {
        "pages_compared": 0, "pages_skipped_cow": 0, "forking_time": 300, "restore_time": 1,
        "pages_restored": 0,
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", HEADER, HEADER + b"\x0a\x02\x08\xff", HEADER + b"\x0d\1"])
def test_what_is_damaged_has_no_figures(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "stats"
    path.write_bytes(data)
    assert criu_statistics.read(str(path)) == {}
    assert criu_statistics.read(str(tmp_path / "none")) == {}
