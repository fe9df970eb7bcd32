"""Containers' root file systems as containers see them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer

pytestmark = pytest.mark.needs("root", "busybox")

RUN = ("run", "--rm", "--network", "none")


def load(engine_root: EngineRoot, tmp_path: Path, image: Image) -> None:
    engine_root.ok("load", "-q", "-i", images.docker_archive(tmp_path / "a.tar", {"x:1": image}))


def test_more_than_a_hundred_layers_are_stacked(engine_root: EngineRoot, tmp_path: Path) -> None:
    upper = [Layer().add(f"layers/{n}", b"").add("top", b"%d" % n).tar() for n in range(119)]
    load(engine_root, tmp_path, Image([images.busybox_layer(), *upper]))
    out = engine_root.ok(*RUN, "x:1", "sh", "-c", "ls /layers | wc -l; cat /top")
    assert out.split() == ["119", "118"]


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_a_container_sees_whiteouts_and_its_own_changes_only(
    engine_root: EngineRoot, tmp_path: Path, driver: str
) -> None:
    second = Layer().add("etc/.wh.group").add("root/kept", b"kept").tar()
    load(engine_root, tmp_path, Image([images.busybox_layer(), second]))
    script = "cat /root/kept; ls -d /etc/p* /etc/g*; echo changed > /root/kept; cat /root/kept"
    options = ("--storage-driver", driver, *RUN)
    for _ in range(2):
        out = engine_root.ok(*options, "x:1", "sh", "-c", script)
        assert out.split() == ["kept/etc/passwd", "changed"]
    assert [name for name in engine_root.files() if name.startswith("containers/")] == []
    assert engine_root.orphans() == set()


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_an_image_may_have_a_layer_twice(
    engine_root: EngineRoot, tmp_path: Path, driver: str
) -> None:
    """As Docker's have empty ones; also such whose return takes back what was done between."""
    empty = Layer().tar()
    twice = Layer().add("d/own", b"A").add("d/.wh.base").add("top", b"A").tar()
    base = Layer().add("d/base", b"base").tar()
    between = (
        Layer().add("d/own", b"B").add("d/base", b"B").add("d/more", b"B").add(".wh.top").tar()
    )
    layers = [images.busybox_layer(), base, empty, twice, empty, between, twice, empty]
    load(engine_root, tmp_path, Image(layers))
    options = ("--storage-driver", driver)
    script = "cd /d; for one in *; do echo $one; cat $one; echo; done; cat /top"
    seen = ["more", "B", "own", "A", "A"]
    assert engine_root.ok(*options, *RUN, "x:1", "sh", "-c", script).split() == seen
    path = Path(engine_root.ok(*options, "image", "mount", "x:1").strip())
    assert sorted(one.name for one in (path / "d").iterdir()) == ["more", "own"]
    engine_root.ok(*options, "image", "unmount", "x:1")
    container = engine_root.ok(*options, "create", "--network", "none", "x:1", "true").strip()
    engine_root.ok(*options, "commit", "-q", container, "y:1")
    assert engine_root.ok(*options, *RUN, "y:1", "sh", "-c", script).split() == seen
    engine_root.ok(*options, "rm", container)
    engine_root.ok(*options, "save", "-q", "-o", tmp_path / "out.tar", "y:1")
    engine_root.ok(*options, "rmi", "-a")
    engine_root.ok(*options, "load", "-q", "-i", tmp_path / "out.tar")
    engine_root.ok(*options, "system", "check")
    assert engine_root.ok(*options, *RUN, "y:1", "sh", "-c", script).split() == seen
    engine_root.ok(*options, "rmi", "y:1")
    assert engine_root.is_empty()


def test_the_root_directorys_mode_and_owner_are_the_images(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    top = Layer().directory("./", 0o711, uid=7, gid=8).tar()
    load(engine_root, tmp_path, Image([images.busybox_layer(), top]))
    out = engine_root.ok(*RUN, "x:1", "stat", "-c", "%a %u %g", "/")
    assert out == "711 7 8\n"


def test_changes_stay_from_start_to_start(engine_root: EngineRoot, tmp_path: Path) -> None:
    load(engine_root, tmp_path, images.busybox_image())
    script = "echo x >> /root/count; wc -l < /root/count"
    container = engine_root.ok("create", "--network", "none", "x:1", "sh", "-c", script).strip()
    assert engine_root.ok("start", "-a", container) == "1\n"
    assert engine_root.ok("start", "-a", container) == "2\n"
    mounts = Path("/proc/self/mountinfo").read_text()
    assert container not in mounts
    engine_root.ok("rm", container)


def test_an_image_stays_untouched_by_its_containers(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    load(engine_root, tmp_path, images.busybox_image())
    (layer,) = (engine_root.root / "layers").iterdir()
    before = sorted(os.listdir(layer / "etc"))
    engine_root.ok(*RUN, "x:1", "sh", "-c", "touch /etc/new; rm /etc/group")
    assert sorted(os.listdir(layer / "etc")) == before


@pytest.fixture
def sharing_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system whose files can share data."""
    with (tmp_path / "btrfs").open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", tmp_path / "btrfs"], check=True)
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-o", "loop", tmp_path / "btrfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


@pytest.mark.needs("btrfs")
def test_copies_share_their_data_where_the_file_system_can(
    pyengine_path: str, tmp_path: Path, sharing_disk: Path
) -> None:
    size = 8 << 20
    root = EngineRoot(pyengine_path, sharing_disk)
    large = Layer().add("large", os.urandom(size)).tar()
    load(root, tmp_path, Image([images.busybox_layer(), large]))
    vfs = ("--storage-driver", "vfs")

    def used() -> int:
        subprocess.run(["sync", "-f", sharing_disk], check=True)
        return shutil.disk_usage(sharing_disk).used

    before = used()
    made = [root.ok(*vfs, "create", "x:1", "true").strip() for _ in range(3)]
    paths = [Path(root.ok(*vfs, "mount", one).strip()) for one in made]
    assert used() - before < size
    (layer,) = (path for path in (root.root / "layers").iterdir() if (path / "large").exists())
    content = (layer / "large").read_bytes()
    assert all((path / "large").read_bytes() == content for path in paths)
    with (paths[0] / "large").open("r+b") as file:
        file.write(b"changed")
    assert (layer / "large").read_bytes() == content
    root.ok(*vfs, "rm", *made)
    root.ok(*vfs, "rmi", "x:1")
    assert root.is_empty()
