"""Archives and registries are exchanged with podman and skopeo, with equal ids and digests."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.peers import run

pytestmark = pytest.mark.needs("root", "busybox")

FORMATS = ("docker-archive", "oci-archive")


@pytest.fixture
def image() -> Image:
    """Two layers; the second hides and replaces something of the first."""
    second = Layer().add("etc/.wh.group").add("etc/passwd", b"root:x:0:0::/:/bin/sh\n").tar()
    return Image([images.busybox_layer(), second], Labels={"for": "tests"})


@pytest.mark.needs("podman")
@pytest.mark.parametrize("form", FORMATS)
def test_what_podman_saves_is_loaded_with_its_id(
    engine_root: EngineRoot, image: Image, tmp_path: Path, form: str
) -> None:
    # podman writes a new config when it converts between the formats
    write = images.docker_archive if form == "docker-archive" else images.oci_archive
    source = write(tmp_path / "source.tar", {"localhost/compat:1": image})
    saved = tmp_path / "saved.tar"
    with tempfile.TemporaryDirectory() as runroot:  # podman wants a short path
        podman = ["podman", "--root", str(tmp_path / "podman"), "--runroot", runroot]
        podman += ["--storage-driver", "vfs"]
        run(*podman, "load", "-i", source)
        run(*podman, "save", "--format", form, "-o", saved, "localhost/compat:1")
        (listed,) = json.loads(run(*podman, "images", "--format", "json"))
        run(*podman, "rmi", "-a", "-f")
    out = engine_root.ok("load", "-i", saved)
    assert out == "Loaded image: localhost/compat:1\n"
    (loaded,) = engine_root.images()
    assert loaded["Id"] == listed["Id"] == image.id
    assert loaded["Names"] == listed["Names"]
    assert loaded["Labels"] == {"for": "tests"}


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", FORMATS)
def test_what_skopeo_writes_is_loaded_with_its_id(
    engine_root: EngineRoot, image: Image, tmp_path: Path, form: str
) -> None:
    source = images.oci_archive(tmp_path / "source.tar", {"x": image})
    target = f"{form}:{tmp_path}/copy.tar:localhost/compat:1"
    run("skopeo", "copy", "-q", f"oci-archive:{source}", target)
    inspected = json.loads(run("skopeo", "inspect", "--raw", target))
    engine_root.ok("load", "-i", tmp_path / "copy.tar")
    (loaded,) = engine_root.images()
    assert f"sha256:{loaded['Id']}" == inspected["config"]["digest"]
    assert loaded["Id"] == image.id
    assert loaded["Names"] == ["localhost/compat:1"]


@pytest.mark.needs("podman", "skopeo")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("source", [images.oci_archive, images.docker_archive])
def test_what_is_saved_is_loaded_by_podman_and_skopeo(
    engine_root: EngineRoot,
    image: Image,
    tmp_path: Path,
    form: str,
    source: images.ArchiveWriter,
) -> None:
    engine_root.ok("load", "-i", source(tmp_path / "a.tar", {"localhost/compat:1": image}))
    saved = tmp_path / "saved.tar"
    engine_root.ok("save", "--format", form, "-o", saved, "compat:1")
    inspected = json.loads(run("skopeo", "inspect", "--raw", f"{form}:{saved}"))
    assert inspected["config"]["digest"] == f"sha256:{image.id}"
    with tempfile.TemporaryDirectory() as runroot:
        podman = ["podman", "--root", str(tmp_path / "podman"), "--runroot", runroot]
        podman += ["--storage-driver", "vfs"]
        loaded = run(*podman, "load", "-q", "-i", saved)
        (listed,) = json.loads(run(*podman, "images", "--format", "json"))
        run(*podman, "rmi", "-a", "-f")
    assert loaded == "Loaded image: localhost/compat:1\n"
    assert listed["Id"] == image.id
    engine_root.ok("rmi", "compat:1")
    engine_root.ok("load", "-i", saved)
    assert engine_root.images()[0]["Id"] == image.id


@pytest.mark.needs("podman")
def test_both_show_the_same_tree(engine_root: EngineRoot, image: Image, tmp_path: Path) -> None:
    """Whiteouts and replaced files give one root file system, seen from inside."""
    archive = images.oci_archive(tmp_path / "a.tar", {"localhost/compat:1": image})
    engine_root.ok("load", "-i", archive)
    script = "ls -ln /etc /bin /tmp; cat /etc/passwd"
    ours = engine_root.ok("run", "--rm", "--network", "none", "compat:1", "sh", "-c", script)
    assert "root:x:0:0::/:/bin/sh" in ours
    assert "group" not in ours


PLACES = ("docker-archive:{}/a.tar:localhost/x:1", "oci-archive:{}/a.tar:x", "oci:{}/layout:x",
          "dir:{}/files")  # fmt: skip


@pytest.mark.needs("podman", "buildah", "skopeo")
@pytest.mark.parametrize("form", PLACES, ids=[place.partition(":")[0] for place in PLACES])
def test_places_are_exchanged_with_podman_buildah_and_skopeo(
    engine_root: EngineRoot, image: Image, tmp_path: Path, form: str
) -> None:
    """What each of them writes we read, what we write of it they read: the same digests."""
    source = images.oci_archive(tmp_path / "source.tar", {"localhost/x:1": image})
    names = not form.startswith("docker-archive")  # it holds no manifest, so nothing of its digest

    def digest(place: str) -> str:
        return images.digest(run("skopeo", "inspect", "--raw", place).encode()) if names else ""

    def place(name: str) -> str:
        (tmp_path / name).mkdir()
        return form.format(tmp_path / name)

    with tempfile.TemporaryDirectory() as runroot:  # podman wants a short path
        common = ["--root", str(tmp_path / "theirs"), "--runroot", runroot]
        common += ["--storage-driver", "vfs"]
        podman, buildah = ["podman", *common], ["buildah", *common]
        run(*podman, "load", "-q", "-i", source)
        written = {who: place(who) for who in ("podman", "buildah", "skopeo")}
        run(*podman, "push", "-q", "localhost/x:1", written["podman"])
        run(*buildah, "push", "-q", "localhost/x:1", written["buildah"])
        run("skopeo", "copy", "-q", f"oci-archive:{source}", written["skopeo"])
        for who, there in written.items():
            assert engine_root.ok("pull", "-q", there) == f"{image.id}\n", who
            (ours,) = engine_root.images()
            back = place(f"{who}-back")
            engine_root.ok("push", "-q", image.id, back)
            assert digest(back) == digest(there), who
            if names:
                assert ours["Digest"] == digest(there), who
            engine_root.ok("rmi", "-f", image.id)
            assert engine_root.is_empty()
            run(*podman, "rmi", "-a", "-f")
            pull = buildah if who == "buildah" else podman
            assert run(*pull, "pull", "-q", back).strip() == image.id, who
            (theirs,) = json.loads(run(*podman, "images", "--format", "json"))
            if names:
                assert theirs["Digest"] == digest(there), who
        run(*podman, "rmi", "-a", "-f")
