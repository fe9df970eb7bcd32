"""Formats beyond the usual: schema 1, zstd:chunked, artifacts, foreign and encrypted layers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.peers import run
from support.registry import SmallRegistry, debian_registry, small_registry

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as server:
        yield server


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[str]:
    with debian_registry(tmp_path) as host:
        yield host


HISTORY: list[dict[str, Any]] = [
    {"created": "2024-05-06T07:08:09.120Z", "created_by": "/bin/sh -c #(nop) ADD <files> & more"},
    {"created": "2024-05-06T07:08:10Z", "created_by": "CMD", "empty_layer": True},
    {"created": "2024-05-06T07:08:11Z", "created_by": "RUN é", "comment": "made", "author": "me"},
]


@pytest.mark.needs("docker-registry", "skopeo")
def test_schema_1_becomes_the_image_that_skopeo_makes_of_it(
    engine_root: EngineRoot, debian: str, tmp_path: Path
) -> None:
    second = Layer().add("etc/second", b"second").tar()
    image = Image([images.busybox_layer(), second], history=HISTORY, Labels={"a": "<b>"})
    archive = images.oci_archive(tmp_path / "a.tar", {"x": image})
    place = f"docker://{debian}/old:1"
    run("skopeo", "--insecure-policy", "copy", "-q", "-f", "v2s1", "--dest-tls-verify=false",
        f"oci-archive:{archive}", place)  # fmt: skip
    raw = json.loads(engine_root.ok("skopeo", "inspect", "--raw", place))
    assert (raw["schemaVersion"], len(raw["fsLayers"])) == (1, 3)
    theirs = tmp_path / "theirs"
    run("skopeo", "--insecure-policy", "copy", "-q", "-f", "v2s2", "--src-tls-verify=false", place,
        f"dir:{theirs}")  # fmt: skip
    engine_root.ok("skopeo", "copy", "-q", "-f", "v2s2", place, f"dir:{tmp_path}/ours")
    assert (tmp_path / "ours/manifest.json").read_bytes() == json.dumps(
        json.loads((theirs / "manifest.json").read_text()), separators=(",", ":")
    ).encode()
    config = json.loads((theirs / "manifest.json").read_text())["config"]["digest"]
    assert engine_root.ok("pull", "-q", place).strip() == config[7:]
    command = ["run", "--rm", "--network", "none", f"{debian}/old:1", "cat", "/etc/second"]
    assert engine_root.ok(*command) == "second"
    # by digest too, which is that of what is signed
    shown = json.loads(engine_root.ok("skopeo", "inspect", place))
    del shown["LayersData"]
    assert shown == json.loads(run("skopeo", "inspect", "--tls-verify=false", place))
    digest = shown["Digest"]
    engine_root.ok("rmi", "-a", "-f")
    assert engine_root.ok("pull", "-q", f"{debian}/old@{digest}").strip() == config[7:]
    assert engine_root.orphans() == set()


def test_a_broken_schema_1_is_refused(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    layer = images.busybox_image().packed[0]
    good = {
        "schemaVersion": 1, "name": "x", "tag": "1", "architecture": images.ARCHITECTURE,
        "fsLayers": [{"blobSum": images.digest(layer)}],
        "history": [{"v1Compatibility": json.dumps({"id": "1", "os": "linux"})}],
    }  # fmt: skip
    registry.contents[images.digest(layer)] = (layer, "application/octet-stream")
    media_type = "application/vnd.docker.distribution.manifest.v1+json"
    for change, problem in (
        ({"history": []}, "1 layers and 0 steps of history"),
        ({"history": [{"v1Compatibility": "{"}]}, "v1Compatibility: not JSON"),
        ({"fsLayers": [{"blobSum": "x"}]}, "'x' is not a sha256 digest"),
        ({"fsLayers": [{"blobSum": images.digest(b"none")}]}, "HTTP status 404"),
        ({"signatures": [{"protected": "?"}]}, "its signature is damaged"),
        ({}, ""),
    ):
        kind = media_type.replace("json", "prettyjws") if "signatures" in change else media_type
        registry.contents["1"] = (images.encode({**good, **change}), kind)
        if problem:
            assert problem in engine_root.fails("pull", f"{registry.host}/x:1")
        else:
            engine_root.ok("pull", f"{registry.host}/x:1")
    assert engine_root.orphans() == set()


def chunked(layer: bytes) -> bytes:
    """Several frames, then what readers must skip, as zstd:chunked has it."""
    import zstandard

    pack = zstandard.ZstdCompressor(1).compress
    half = len(layer) // 2
    frames = [pack(layer[:half]), pack(layer[half:])]
    skipped = [struct.pack("<II", 0x184D2A50, len(data)) + data for data in (b"toc" * 9, b"f" * 64)]
    return b"".join([*frames, *skipped])


def described(image: Image, index: int = 0, **changes: Any) -> bytes:
    """The manifest with another layer descriptor."""
    fields = json.loads(image.manifest)
    fields["layers"][index] |= changes
    return images.encode(fields)


def layout(path: Path, manifest: bytes, blobs: list[bytes]) -> str:
    """An OCI layout with one manifest."""
    (path / "blobs/sha256").mkdir(parents=True)
    for data in (manifest, *blobs):
        (path / "blobs/sha256" / images.digest(data)[7:]).write_bytes(data)
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(manifest),
             "digest": images.digest(manifest)}  # fmt: skip
    (path / "index.json").write_bytes(images.encode({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{path}"


def test_zstd_chunked_is_read_and_loses_its_tables_when_it_is_packed_anew(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    data = chunked(image.layers[0])
    tables = {"io.github.containers.zstd-chunked.manifest-position": "1:2:3:1", "mine": "stays"}
    manifest = described(
        image, digest=images.digest(data), size=len(data), annotations=tables,
        mediaType="application/vnd.oci.image.layer.v1.tar+zstd",
    )  # fmt: skip
    place = layout(tmp_path / "chunked", manifest, [data, image.config])
    assert engine_root.ok("pull", "-q", place).strip() == image.id
    assert engine_root.ok("run", "--rm", "--network", "none", image.id, "echo", "in") == "in\n"
    engine_root.ok("skopeo", "copy", "-q", place, f"dir:{tmp_path}/same")
    assert (tmp_path / "same/manifest.json").read_bytes() == manifest
    engine_root.ok("skopeo", "copy", "-q", "--dest-compress-format", "gzip", place,
                   f"dir:{tmp_path}/gzip")  # fmt: skip
    (layer,) = json.loads((tmp_path / "gzip/manifest.json").read_text())["layers"]
    assert layer["annotations"] == {"mine": "stays"}
    assert layer["mediaType"].endswith("+gzip")


@pytest.mark.needs("docker-registry", "skopeo")
def test_an_artifact_is_copied_with_its_digest_and_does_not_run(
    engine_root: EngineRoot, debian: str, tmp_path: Path
) -> None:
    subject = images.busybox_image()
    archive = images.oci_archive(tmp_path / "a.tar", {"x": subject})
    engine_root.ok("skopeo", "copy", "-q", f"oci-archive:{archive}", f"docker://{debian}/x:1")
    payload, empty = b'{"packages": []}', b"{}"
    target = {"mediaType": "application/vnd.oci.image.manifest.v1+json",
              "digest": images.digest(subject.manifest), "size": len(subject.manifest)}  # fmt: skip
    kind = "application/vnd.example.sbom.v1"
    manifest = images.encode({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": kind, "subject": target, "annotations": {"made": "today"},
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": len(empty),
                   "digest": images.digest(empty)},
        "layers": [{"mediaType": "application/json", "digest": images.digest(payload),
                    "size": len(payload)}],
    })  # fmt: skip
    place = layout(tmp_path / "artifact", manifest, [payload, empty])
    there = f"docker://{debian}/x:sbom"
    for _ in range(2):
        engine_root.ok("skopeo", "copy", "-q", "--preserve-digests", place, there)
    assert run("skopeo", "inspect", "--tls-verify=false", "--raw", there).encode() == manifest
    # this registry has no referrers API: the tag that the specification names lists the artifact
    tag = images.digest(subject.manifest).replace(":", "-")
    listed = json.loads(engine_root.ok("skopeo", "inspect", "--raw", f"docker://{debian}/x:{tag}"))
    assert listed["manifests"] == [
        {"mediaType": target["mediaType"], "digest": images.digest(manifest),
         "size": len(manifest), "artifactType": kind, "annotations": {"made": "today"}}
    ]  # fmt: skip
    shown = json.loads(engine_root.ok("skopeo", "inspect", there))
    assert shown["Layers"] == [images.digest(payload)]
    for words in (["pull", there], ["run", "--rm", f"{debian}/x:sbom"]):
        said = engine_root.fails(*words)
        assert f"unsupported image-specific operation on artifact with type {kind!r}" in said
    words = ["skopeo", "copy", there, f"docker-archive:{tmp_path}/no.tar"]
    assert "unsupported image-specific operation" in engine_root.fails(*words, status=1)
    assert engine_root.is_empty()


def test_a_foreign_layer_comes_from_where_its_manifest_says(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path
) -> None:
    image = images.busybox_image()
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    blob = images.digest(image.packed[0])
    with small_registry() as elsewhere:
        elsewhere.add("1", image)
        urls = ["ftp://example.com/x", f"http://{elsewhere.host}/v2/none/blobs/none",
                f"http://{elsewhere.host}/v2/x/blobs/{blob}"]  # fmt: skip
        manifest = described(image, mediaType=kind, urls=urls)
        registry.contents["1"] = (manifest, "application/vnd.oci.image.manifest.v1+json")
        config = images.digest(image.config)
        registry.contents[config] = (image.config, "application/octet-stream")
        place = f"docker://{registry.host}/x:1"
        assert engine_root.ok("pull", "-q", place).strip() == image.id
        # to a layout it goes without the layer, to an archive with it
        said = engine_root.ok("skopeo", "copy", place, f"oci:{tmp_path}/layout")
        assert "skipped: it comes from ftp://example.com/x" in said
        assert not (tmp_path / "layout/blobs/sha256" / blob[7:]).exists()
        (name,) = (
            path for path in (tmp_path / "layout/blobs/sha256").iterdir() if path.name != config[7:]
        )
        assert name.read_bytes() == manifest
        engine_root.ok("skopeo", "copy", "-q", place, f"docker-archive:{tmp_path}/a.tar")
        engine_root.ok("rmi", "-a")
        out = engine_root.ok("load", "-i", tmp_path / "a.tar")
        assert out == f"Loaded image: sha256:{image.id}\n"
        engine_root.ok("rmi", "-a")
    message = engine_root.fails("pull", place)
    assert f"reading foreign layer {blob} from" in message
    assert "only http:// and https:// are read" in message
    assert engine_root.is_empty()


def test_an_encrypted_layer_is_copied_but_not_unpacked(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    kind = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
    notes = {"org.opencontainers.image.enc.keys.jwe": "e30="}
    manifest = described(image, mediaType=kind, annotations=notes)
    place = layout(tmp_path / "secret", manifest, [image.packed[0], image.config])
    said = engine_root.fails("pull", place)
    assert f"layer {images.digest(image.packed[0])} is encrypted" in said
    engine_root.ok("skopeo", "copy", "-q", place, f"oci:{tmp_path}/copy:x")
    assert (
        engine_root.ok("skopeo", "inspect", "--raw", f"oci:{tmp_path}/copy:x").encode() == manifest
    )
    assert engine_root.is_empty()
