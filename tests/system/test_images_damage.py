"""What the consistency check finds in a damaged store, and what a repair leaves of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support import images
from support.damage import check
from support.engine import EngineRoot
from support.images import Image, Layer

pytestmark = pytest.mark.needs("root", "busybox")


def odd_layer() -> bytes:
    """Everything that the comparison of a layer with its tar must understand."""
    layer = Layer().directory("d", 0o750, uid=3).add("d/f", b"first").add("d/f", b"second", uid=7)
    layer.hardlink("same", "d/f").symlink("link", "d/f").add("pipe", type=tarfile.FIFOTYPE)
    layer.add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3).add(".wh.gone")
    layer.add("deep/without/parents", b"x").add("d/.wh..wh..opq").add("big", bytes(3_000_000))
    return layer.tar()


def replace_by_a_copy(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def test_damage_is_found_and_repaired(engine_root: EngineRoot, tmp_path: Path) -> None:
    good, odd = images.busybox_image(), Image([images.busybox_layer(), odd_layer()])
    both = images.oci_archive(tmp_path / "a.tar", {"good:1": good, "odd:1": odd})
    engine_root.ok("load", "-q", "-i", both)
    assert check(engine_root) == ({}, [], [])
    layer = engine_root.root / "layers" / images.digest(odd.layers[1])[7:]
    blob = engine_root.root / "blobs/sha256" / images.digest(odd.packed[1])[7:]

    damages: dict[str, Callable[[], object]] = {
        "d/f: its content is another one": lambda: (layer / "d/f").write_bytes(b"sec0nd"),
        "d/f: it has 1 bytes, not 6": lambda: (layer / "d/f").write_bytes(b"s"),
        "d: its mode is 700, not 750": lambda: (layer / "d").chmod(0o700),
        "d: its owner is 5:0, not 3:0": lambda: os.chown(layer / "d", 5, 0),
        "null: No such file or directory": lambda: (layer / "null").unlink(),
        "same: it is no hard link": lambda: (
            shutil.copy2(layer / "link", layer / "same.new")
            and (layer / "same.new").rename(layer / "same")
        ),
        "added: it is not in the tar": lambda: (layer / "added").touch(),
    }
    keep = tmp_path / "keep"
    for problem, damage in damages.items():
        subprocess.run(["cp", "-a", layer, keep], check=True)
        damage()
        found, _, _ = check(engine_root)
        assert [one[:4] for one in found.values()] == [
            ["layer", images.digest(odd.layers[1]), problem, [odd.id]]
        ]  # fmt: skip
        shutil.rmtree(layer)
        keep.rename(layer)
    assert check(engine_root) == ({}, [], [])

    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    assert check(engine_root, "quick")[0] == {}
    found, _, _ = check(engine_root)
    assert "its digest is sha256:" in str(found[images.digest(odd.packed[1])][2])
    blob.write_bytes(data[:-1])
    assert list(check(engine_root, "quick")[0]) == [images.digest(odd.packed[1])]
    (engine_root.root / "layers" / ("0" * 64) / "etc").mkdir(parents=True)
    (engine_root.root / "staging/lost").mkdir()
    (engine_root.root / "partial").mkdir()
    (engine_root.root / "partial" / ("1" * 64)).write_bytes(b"begin")
    assert len(check(engine_root, "quick")[0]) == 3  # what a pull left may still be of use
    found, removed, staying = check(engine_root, "quick", "repair", "any-age")
    kinds = sorted(str(one[0]) for one in found.values())
    assert kinds == ["blob", "orphan", "orphan", "unreferenced"]
    assert (removed, staying) == ([odd.id], [])
    assert [one["Names"] for one in engine_root.images()] == [["localhost/good:1"]]
    assert engine_root.orphans() == set()
    assert check(engine_root) == ({}, [], [])


def test_what_a_container_needs_is_not_repaired_away(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-q", "-i", images.docker_archive(tmp_path / "a.tar", {"x": image}))
    container = engine_root.ok("create", "x", "true").strip()
    diff_id = images.digest(image.layers[0])
    shutil.rmtree(engine_root.root / "layers" / diff_id[7:])
    found, removed, staying = check(engine_root, "repair", "quick")
    assert found[diff_id] == [
        "layer", diff_id, "its directory is missing", [image.id], [container]
    ]  # fmt: skip
    assert (removed, staying) == ([], [diff_id])
    engine_root.ok("rm", container)
    assert check(engine_root, "repair", "quick")[1:] == ([image.id], [])
    assert engine_root.is_empty()
