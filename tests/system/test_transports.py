"""Places that images come from and go to: stores, OCI layouts with shared blobs, time limits."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
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


def test_layers_stay_as_they_are_packed_where_that_is_asked_for(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    second = Layer().add("more").tar()
    for how in ("none", "gzip"):
        image = Image([images.busybox_layer(), second], how, Labels={"how": how})
        archive = images.oci_archive(tmp_path / f"{how}.tar", {f"localhost/{how}:1": image})
        engine_root.ok("load", "-i", archive)
    manifest = tmp_path / "out/manifest.json"

    def types(place: str, *words: str) -> set[str]:
        engine_root.ok("push", "-q", *words, place, f"dir:{tmp_path}/out")
        layers = json.loads(manifest.read_text())["layers"]
        return {layer["mediaType"].rpartition(".")[2] for layer in layers}

    zstd = ["--compression-format", "zstd"]
    assert types("gzip:1", *zstd) == {"tar+zstd"}
    assert types("gzip:1", *zstd, "--force-compression=false") == {"tar+gzip"}
    assert types("none:1", *zstd, "--force-compression=false") == {"tar+zstd"}
    for words, expected in (([], "tar+gzip"), (["--uncompressed"], "tar")):
        target = tmp_path / f"layout{len(words)}"
        engine_root.ok("save", "-q", "--format", "oci-dir", *words, "-o", target, "none:1")
        shown = engine_root.ok("skopeo", "inspect", "--raw", f"oci:{target}")
        (kind,) = {layer["mediaType"] for layer in json.loads(shown)["layers"]}
        assert kind.rpartition(".")[2] == expected
    engine_root.ok("tag", "none:1", "example.com/other:2")
    lines = engine_root.ok("images", "--history", "none").splitlines()
    assert lines[0].split()[-1] == "HISTORY"
    assert lines[1].endswith("example.com/other:2, localhost/none:1")
    engine_root.ok("rmi", "--no-prune", "none:1")
    assert engine_root.ok("image", "prune", "-f", "--external") == ""


SSH = """#!/bin/sh
# stands for ssh: "runs" there with the store of the other machine
printf '%s\\n' "$@" >> {directory}/said
while [ "$1" != -- ]; do shift; done
[ "$2" = me@there ] || {{ echo "ssh: connect to host $2" >&2; exit 255; }}
PATH={directory}/bin:$PATH exec sh -c "$3"
"""


def test_images_go_to_another_machine_over_ssh_and_back(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    archive = images.oci_archive(tmp_path / "a.tar", {"example.com/app:1": image})
    engine_root.ok("load", "-i", archive)
    other = EngineRoot(engine_root.argv()[0], tmp_path / "other")
    (tmp_path / "ssh").write_text(SSH.format(directory=tmp_path))
    (tmp_path / "bin").mkdir()
    words = " ".join(other.argv())
    (tmp_path / "bin/podman").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    conf = tmp_path / "containers.conf"
    conf.write_text(
        '[engine.service_destinations.far]\nuri = "ssh://me@there:2222/run/podman.sock"\n'
        f'identity = "{tmp_path}/key"\n'
    )
    for program in (tmp_path / "ssh", tmp_path / "bin/podman"):
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}",
                   "CONTAINERS_CONF": str(conf)}  # fmt: skip

    def scp(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            engine_root.argv("image", "scp", "-q", *words), env=environment, check=False,
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    assert scp("example.com/app:1", "far::")[:2] == (0, "Loaded image: example.com/app:1\n")
    assert [one["Id"] for one in other.images()] == [image.id]
    said = (tmp_path / "said").read_text().splitlines()
    assert said[:6] == ["-p", "2222", "-i", f"{tmp_path}/key", "--", "me@there"]
    engine_root.ok("rmi", "app:1")
    assert scp("me@there::example.com/app:1")[:2] == (0, "Loaded image: example.com/app:1\n")
    assert [one["Id"] for one in engine_root.images()] == [image.id]
    other.ok("rmi", "app:1")
    assert scp("--format", "oci-archive", "example.com/app:1", "far::")[0] == 0
    assert scp("--format", "oci-archive", "me@there::example.com/app:1")[0] == 0
    (said_last,) = (tmp_path / "said").read_text().splitlines()[-1:]
    assert "podman save --quiet --format oci-archive example.com/app:1" in said_last
    for words_given, problem in (
        (["me@there::none:1"], "me@there: save failed there with status 125"),
        (["app:1", "nowhere::"], "nowhere: load failed there with status 255"),
        (["app:1"], "give a destination"),
        (["none:1", "far::"], "none:1: image not known"),
        (["app:1", "far::other:1"], "cannot specify an image rename"),
        (["far::"], "needs the name of an image"),
        (["app:1", "nobody-of-this-name@localhost::"], "there is no user"),
        (["app:1", "ssh://-oProxyCommand=x::"], "is no address that ssh reaches"),
    ):
        status, _, message = scp(*words_given)
        assert (status, problem in message) == (125, True), message
    assert engine_root.orphans() == set()


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
    given_up = threading.Event()

    def stall(_digest: str) -> None:
        given_up.wait(60)

    registry.faults.before_blob = stall
    try:
        said = engine_root.fails(
            "skopeo", "--command-timeout", "1s500ms", "--debug", "copy",
            f"docker://{registry.host}/x:1", f"oci-archive:{tmp_path}/a.tar", status=1,
        )  # fmt: skip
    finally:
        given_up.set()
    assert "it is not done after 1s500ms (--command-timeout)" in said
    assert not list(tmp_path.glob("*a.tar*"))
    said = engine_root.fails("skopeo", "--command-timeout", "soon", "inspect", "dir:/", status=1)
    assert "invalid duration 'soon'" in said
