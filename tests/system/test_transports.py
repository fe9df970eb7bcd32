"""Places that images come from and go to: stores, OCI layouts with shared blobs, time limits."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry, debian_registry

pytestmark = pytest.mark.needs("root", "busybox")


def test_skopeo_fills_reads_and_empties_a_store(engine_root: EngineRoot, tmp_path: Path) -> None:
    image = images.busybox_image()
    archive = images.oci_archive(tmp_path / "a.tar", {"x": image})
    copy = ["skopeo", "copy", "-q"]
    engine_root.ok(*copy, f"oci-archive:{archive}", "containers-storage:app:1")
    (stored,) = engine_root.images()
    assert (stored["Id"], stored["Names"]) == (image.id, ["docker.io/library/app:1"])
    shown = json.loads(engine_root.ok("skopeo", "inspect", "containers-storage:app:1"))
    assert (shown["Name"], shown["Digest"]) == (
        "docker.io/library/app", images.digest(image.manifest),
    )  # fmt: skip
    # another root, by what stands in brackets
    other = EngineRoot(engine_root.argv()[0], tmp_path / "other")
    there = f"containers-storage:[overlay@{other.root}+{other.runroot}]example.com/app:2"
    engine_root.ok(*copy, "containers-storage:app:1", there)
    assert [one["Names"] for one in other.images()] == [["example.com/app:2"]]
    engine_root.ok(*copy, there, f"dir:{tmp_path}/dir")
    assert (tmp_path / "dir/manifest.json").read_bytes() == image.manifest
    engine_root.ok("skopeo", "delete", there)
    assert other.is_empty()
    assert len(engine_root.images()) == 1
    for words, problem in (
        ([*copy, "-f", "v2s2", f"dir:{tmp_path}/dir", "containers-storage:b"], "a store keeps"),
        ([*copy, "--all", f"dir:{tmp_path}/dir", "containers-storage:b"], "takes one image of"),
        ([*copy, there, f"dir:{tmp_path}/no"], "image not known"),
        (["skopeo", "inspect", "containers-storage:[x]app:1"], "not [DRIVER@]ROOT[+RUNROOT]"),
        (["skopeo", "inspect", "containers-storage:[x"], "it takes [DRIVER@ROOT+RUNROOT]NAME"),
        (["skopeo", "delete", f"dir:{tmp_path}/dir"], "only images in registries, stores and"),
    ):  # fmt: skip
        assert problem in engine_root.fails(*words, status=1)
    assert engine_root.orphans() == set()


def test_layouts_share_blobs_and_give_up_what_only_one_image_needs(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    first = images.busybox_image()
    second = Image([*first.layers, Layer().add("more").tar()])
    shared = tmp_path / "shared"
    for name, image in (("first", first), ("second", second)):
        archive = images.oci_archive(tmp_path / f"{name}.tar", {name: image})
        for place, option in (("own", []), (name, ["--dest-shared-blob-dir", str(shared)])):
            engine_root.ok("skopeo", "copy", "-q", *option, f"oci-archive:{archive}",
                           f"oci:{tmp_path}/{place}:{name}")  # fmt: skip
    assert not (tmp_path / "first/blobs").exists()
    blobs = {one[7:] for image in (first, second) for one in image.blobs}
    assert set(os.listdir(shared / "sha256")) == set(os.listdir(tmp_path / "own/blobs/sha256"))
    assert set(os.listdir(shared / "sha256")) == blobs
    back = ["skopeo", "copy", "-q", "--src-shared-blob-dir", str(shared)]
    engine_root.ok(*back, f"oci:{tmp_path}/second:second", f"dir:{tmp_path}/back")
    assert (tmp_path / "back/manifest.json").read_bytes() == second.manifest
    said = engine_root.fails("skopeo", "inspect", f"oci:{tmp_path}/second:second", status=1)
    assert "No such file" in said
    # by number, and out of the layout
    shown = engine_root.ok("skopeo", "inspect", "--raw", f"oci:{tmp_path}/own:@1")
    assert shown.encode() == second.manifest
    assert "only @0 to @1" in engine_root.fails("skopeo", "inspect", f"oci:{tmp_path}/own:@2",
                                                status=1)  # fmt: skip
    engine_root.ok("skopeo", "delete", f"oci:{tmp_path}/own:second")
    left = {one[7:] for one in first.blobs}
    assert set(os.listdir(tmp_path / "own/blobs/sha256")) == left
    engine_root.ok("skopeo", "delete", "--shared-blob-dir", shared, f"oci:{tmp_path}/first:first")
    assert set(os.listdir(shared / "sha256")) == blobs
    missing = engine_root.fails("skopeo", "delete", f"oci:{tmp_path}/own:second", status=1)
    assert "no descriptor found for reference 'second'" in missing


@pytest.mark.needs("docker-registry")
def test_a_layer_that_the_registry_has_is_not_sent_again(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = Image([images.busybox_layer(), Layer().add("more").tar()], "none")
    archive = images.oci_archive(tmp_path / "a.tar", {"x": image})
    with debian_registry(tmp_path) as host:
        for number in (1, 2):
            engine_root.ok("skopeo", "--tmpdir", tmp_path, "copy", "--dest-precompute-digests",
                           "--image-parallel-copies", "1", f"oci-archive:{archive}",
                           f"docker://{host}/x:{number}")  # fmt: skip
        log = next(tmp_path.glob("registry-*.log")).read_text()
        uploads = [line for line in log.splitlines() if "/v2/x/blobs/uploads/" in line]
        sent = [line for line in uploads if "http.request.method=PUT" in line]
        assert len(sent) == 3  # two layers and a config, once
    assert not list(tmp_path.glob("pyengine-layer-*"))
    archive.write_bytes(gzip.compress(archive.read_bytes(), 1))
    said = engine_root.fails("skopeo", "--tmpdir", tmp_path / "none", "copy",
                             f"oci-archive:{archive}", f"dir:{tmp_path}/d", status=1)  # fmt: skip
    assert f"make a file in {tmp_path}/none: No such file" in said


def test_a_command_ends_when_its_time_is_up(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path
) -> None:
    image = images.busybox_image()
    registry.add("1", image)
    registry.faults.before_blob = lambda _: time.sleep(20)
    begin = time.monotonic()
    said = engine_root.fails(
        "skopeo", "--command-timeout", "1s500ms", "--debug", "copy",
        f"docker://{registry.host}/x:1", f"oci-archive:{tmp_path}/a.tar", status=1,
    )  # fmt: skip
    assert "it is not done after 1s500ms (--command-timeout)" in said
    assert time.monotonic() - begin < 15
    assert not list(tmp_path.glob("*a.tar*"))
    said = engine_root.fails("skopeo", "--command-timeout", "soon", "inspect", "dir:/", status=1)
    assert "invalid duration 'soon'" in said
