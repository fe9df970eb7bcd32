"""Images that are too much, places that cannot be written, registries that go: said once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.disks import tmpfs
from support.engine import EngineRoot
from support.images import Image
from support.registry import SmallRegistry

pytestmark = pytest.mark.needs("root", "busybox")

TOO_LONG = "y" * (5 << 20)


def long_manifest() -> Image:
    image = images.busybox_image()
    image.manifest = images.encode({**json.loads(image.manifest), "annotations": {"x": TOO_LONG}})
    return image


def test_configs_and_manifests_of_megabytes_are_refused(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path
) -> None:
    for number, image in enumerate([images.busybox_image(Labels={"x": TOO_LONG}), long_manifest()]):
        registry.add(str(number), image)
        path = images.oci_archive(tmp_path / "a.tar", {"x": image})
        for words in (["load", "-i", path], ["pull", f"{registry.host}/x:{number}"]):
            message = engine_root.fails(*words)
            assert "too long" in message or "longer than" in message
            assert len(message) < 300
            assert engine_root.is_empty()


def test_a_registry_that_goes_while_it_sends_is_told(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = images.busybox_image()
    registry.add("1", image)
    digest = images.digest(image.packed[0])
    registry.faults.cut_after[digest] = 200_000

    def go(reference: str) -> None:
        registry.faults.gone = reference == digest

    registry.faults.before_blob = go
    done = engine_root.call("pull", f"{registry.host}/x:1")
    assert done.returncode == 125
    assert done.stderr.count("Error: ") == 1
    assert f"reading blob {digest} in {registry.host}/x: " in done.stderr
    assert engine_root.images() == []
    assert engine_root.orphans() == set()
    registry.faults.gone, registry.faults.before_blob = False, lambda _: None
    registry.faults.cut_after.clear()
    registry.faults.requests.clear()
    engine_root.ok("pull", f"{registry.host}/x:1")
    assert f"/v2/x/blobs/{digest} bytes=200000-" in registry.faults.requests


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which the test makes read-only."""
    with tmpfs(tmp_path / "sealed", "20m") as directory:
        yield directory


def test_a_place_that_cannot_be_written_is_named(
    pyengine_path: str, sealed: Path, tmp_path: Path
) -> None:
    root = EngineRoot(pyengine_path, sealed)
    image = images.busybox_image()
    path = images.docker_archive(tmp_path / "a.tar", {"x": image})
    root.ok("load", "-q", "-i", path)
    out = tmp_path / "no" / "out.tar"
    assert str(out) in root.fails("save", "-o", out, "x")
    subprocess.run(["mount", "-o", "remount,ro", str(sealed)], check=True)
    try:
        for words in (["load", "-q", "-i", path], ["rmi", "x"]):
            done = root.call(*words)
            assert done.returncode == 125
            assert done.stderr.count("Error: ") == 1
            assert str(sealed) in done.stderr
            assert "read" in done.stderr.lower()
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(sealed)], check=True)
    assert root.ok("images", "-q") == f"{image.id[:12]}\n"
    assert root.orphans() == set()


def test_an_ordinary_user_is_told_where_he_may_not_write(
    pyengine_path: str, tmp_path: Path
) -> None:
    script = 'exec setpriv --reuid daemon --clear-groups "$@"'
    command = ["sh", "-c", script, "sh", *EngineRoot(pyengine_path, tmp_path).argv("images")]
    check = ["setpriv", "--reuid", "daemon", "--clear-groups", "test", "-x", pyengine_path]
    if subprocess.run(check, check=False).returncode != 0:
        pytest.skip(f"others may not look into {pyengine_path}")
    os.chmod(tmp_path, 0o700)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 125
    assert f"make directory {tmp_path}/runroot: Permission denied" in done.stderr
    assert "choose another with --root" in done.stderr


def with_types(layer: str, config: str = "", data: bytes | None = None) -> Image:
    """An image whose manifest calls its parts so; ``data`` stands in place of the packed layer."""
    image = images.busybox_image()
    fields = json.loads(image.manifest)
    fields["layers"][0]["mediaType"] = layer
    fields["config"]["mediaType"] = config or fields["config"]["mediaType"]
    if data is not None:
        image.packed = [data]
        fields["layers"][0].update(digest=images.digest(data), size=len(data))
    image.manifest = images.encode(fields)
    return image


def test_of_what_kind_a_layer_is_its_content_decides(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    """As for podman: what calls itself text, or says nothing, may be a tar all the same."""
    out = tmp_path / "out"
    for kind in ("text/plain", "", "application/vnd.oci.image.layer.v1.tar+zstd"):
        image = with_types(kind)
        path = images.oci_archive(tmp_path / "a.tar", {"x": image})
        engine_root.ok("load", "-q", "-i", path)
        engine_root.ok("rmi", "x")
        engine_root.ok("skopeo", "copy", "-q", f"oci-archive:{path}", f"dir:{out}")
        assert images.digest((out / "manifest.json").read_bytes()) == images.digest(image.manifest)
    brotli = with_types(
        "application/vnd.oci.image.layer.v1.tar+br", data=b"\x1b\xff\xff" + os.urandom(60_000)
    )
    path = images.oci_archive(tmp_path / "a.tar", {"x": brotli})
    message = engine_root.fails("load", "-i", path)
    assert f"unpack layer {images.digest(brotli.packed[0])}: it is no tar archive: " in message
    assert engine_root.is_empty()
    path = images.oci_archive(tmp_path / "a.tar", {"x": with_types("", "application/x-config")})
    message = engine_root.fails("load", "-i", path)
    assert "artifact with type 'application/x-config': it is no image that can run" in message
    assert engine_root.is_empty()


def test_an_image_of_another_platform_is_taken_with_a_warning(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = images.busybox_image()
    registry.add("1", image)
    name, own = f"{registry.host}/x:1", f"linux/{images.ARCHITECTURE}"
    words = f"image platform ({own}) does not match the expected platform "
    assert words not in engine_root.call("pull", "-q", name).stderr
    for command in (["pull", "-q"], ["create", "-q"]):
        done = engine_root.call(*command, "--platform", "linux/pdp11", name)
        assert done.returncode == 0
        assert f"{words}(linux/pdp11)\n" in done.stderr
    engine_root.ok("rm", "-a")
    config = json.loads(image.config) | {"architecture": "pdp11"}
    manifest = json.loads(image.manifest)
    image.config = images.encode(config)
    manifest["config"].update(digest=images.digest(image.config), size=len(image.config))
    image.manifest = images.encode(manifest)
    registry.add("1", image)
    words = f"image platform (linux/pdp11) does not match the expected platform ({own})\n"
    assert words in engine_root.call("pull", "-q", name).stderr
    done = engine_root.call("run", "--rm", "--network", "none", name, "true")
    assert (done.returncode, words in done.stderr) == (0, True)
    assert "not known for linux/s390x" in engine_root.fails(
        "create", "--pull", "never", "--platform", "linux/s390x", name
    )
