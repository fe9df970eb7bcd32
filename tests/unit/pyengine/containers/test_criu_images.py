from __future__ import annotations

from pathlib import Path

import pytest

from pyengine.containers import criu_images

HEADER = bytes(12)


def test_figures_of_a_restore_are_named(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    path.write_bytes(HEADER + bytes([0x12, 7, 0x18, 0xAC, 2, 0x20, 1, 0x38, 9]))
    assert criu_images.statistics(str(path)) == {
        "pages_compared": 0, "pages_skipped_cow": 0, "forking_time": 300, "restore_time": 1,
        "pages_restored": 0,
    }  # fmt: skip


def test_the_roots_permissions_are_among_the_files(tmp_path: Path) -> None:
    def message(name: bytes, mode: int) -> bytes:
        varint = bytes([mode & 127 | 128, mode >> 7 & 127 | 128, mode >> 14])
        entry = bytes([0x08, 1, 0x32, len(name)]) + name + b"\x50" + varint
        whole = bytes([0x08, 1, 0x10, 1, 0x1A, len(entry)]) + entry
        return len(whole).to_bytes(4, "little") + whole

    path = tmp_path / "files.img"
    assert criu_images.root_mode(str(tmp_path)) is None
    other = bytes(8) + message(b"/bin/sh", 0o100755)
    path.write_bytes(other)
    assert criu_images.root_mode(str(tmp_path)) is None
    path.write_bytes(other + message(b"/", 0o40555))
    assert criu_images.root_mode(str(tmp_path)) == 0o555
    path.write_bytes(other + message(b"/", 0o40555)[:-1])  # cut short
    assert criu_images.root_mode(str(tmp_path)) is None


@pytest.mark.parametrize("data", [b"", HEADER, HEADER + b"\x0a\x02\x08\xff", HEADER + b"\x0d\1"])
def test_what_is_damaged_has_no_figures(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "stats"
    path.write_bytes(data)
    assert criu_images.statistics(str(path)) == {}
    assert criu_images.statistics(str(tmp_path / "none")) == {}
