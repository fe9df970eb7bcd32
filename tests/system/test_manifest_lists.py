"""manifest create, add, annotate, inspect, push, remove, rm, exists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry, debian_registry

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def loaded(engine_root: EngineRoot, tmp_path: Path) -> dict[str, Image]:
    """Two images of the store, a:1 and b:1."""
    both = {
        "localhost/a:1": images.busybox_image(),
        "localhost/b:1": Image([Layer().add("b").tar()]),
    }
    engine_root.ok("load", "-i", write(tmp_path / "a.tar", both))
    return both


def write(path: Path, both: dict[str, Image]) -> Path:
    return images.oci_archive(path, both)


def index_of(engine_root: EngineRoot, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine_root.ok("manifest", "inspect", name))
    return found


def test_a_list_is_made_changed_and_removed(
    engine_root: EngineRoot, loaded: dict[str, Image]
) -> None:
    made = engine_root.ok("manifest", "create", "multi")
    assert len(made.strip()) == 64
    assert engine_root.ok("manifest", "exists", "multi") == ""
    assert "already in use" in engine_root.fails("manifest", "create", "multi")
    assert engine_root.ok("manifest", "create", "--amend", "multi", "a:1") == made
    platform = ["--arch", "arm", "--variant", "v7", "--os-version", "5", "--annotation", "k=v"]
    assert engine_root.ok("manifest", "add", *platform, "multi", "b:1") == made
    digests = {name: images.digest(image.manifest) for name, image in loaded.items()}
    first, second = index_of(engine_root, "multi")["manifests"]
    assert first["digest"] == digests["localhost/a:1"]
    assert first["platform"] == {"architecture": images.ARCHITECTURE, "os": "linux"}
    assert second["platform"] == {
        "architecture": "arm", "os": "linux", "variant": "v7", "os.version": "5",
    }  # fmt: skip
    assert second["annotations"] == {"k": "v"}
    engine_root.ok("manifest", "annotate", "--arch", "arm64", "--os-features", "x", "multi",
                   digests["localhost/b:1"])  # fmt: skip
    second = index_of(engine_root, "multi")["manifests"][1]
    assert second["platform"]["architecture"] == "arm64"
    assert second["platform"]["os.features"] == ["x"]
    engine_root.ok("manifest", "remove", "multi", "a:1")
    assert "it has no image a:1" in engine_root.fails("manifest", "remove", "multi", "a:1")
    assert len(index_of(engine_root, "multi")["manifests"]) == 1
    assert "not KEY=VALUE" in engine_root.fails(
        "manifest", "annotate", "--annotation", "x", "multi", digests["localhost/b:1"]
    )
    assert engine_root.ok("manifest", "rm", "multi").splitlines()[0] == (
        "Untagged: localhost/multi:latest"
    )
    assert engine_root.call("manifest", "exists", "multi").returncode == 1
    assert "manifest list not known" in engine_root.fails("manifest", "add", "multi", "a:1")


def test_a_list_runs_as_its_image_for_this_machine(engine_root: EngineRoot, tmp_path: Path) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-i", write(tmp_path / "x.tar", {"localhost/x:1": image}))
    engine_root.ok("manifest", "create", "multi", "x:1")
    command = ["run", "--rm", "--network", "none"]
    assert engine_root.ok(*command, "multi", "echo", "in") == "in\n"
    said = engine_root.fails(*command, "--platform", "linux/pdp11", "multi", "true")
    assert f"no image for linux/pdp11; it has linux/{images.ARCHITECTURE}" in said
    engine_root.ok("rmi", "x:1")
    assert "is not in this store; pull containers-storage:" in engine_root.fails(*command, "multi")


def test_a_list_says_something_of_itself(
    engine_root: EngineRoot, loaded: dict[str, Image], tmp_path: Path
) -> None:
    engine_root.ok("manifest", "create", "--annotation", "a=1", "multi", "a:1")
    index = ["manifest", "annotate", "--index", "--annotation", "b=2"]
    engine_root.ok(*index, "--subject", "b:1", "multi")
    found = index_of(engine_root, "multi")
    assert found["annotations"] == {"a": "1", "b": "2"}
    assert found["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert found["subject"]["digest"] == images.digest(loaded["localhost/b:1"].manifest)
    engine_root.ok("manifest", "push", "-q", "multi", f"oci:{tmp_path}/out:x")
    pushed = json.loads(engine_root.ok("skopeo", "inspect", "--raw", f"oci:{tmp_path}/out:x"))
    assert pushed == found
    for words, problem in (
        ([*index, "multi", "a:1"], "--index takes no image"),
        ([*index, "--arch", "arm", "multi"], "--index takes no image"),
        (["manifest", "annotate", "multi"], "give an image, or --index"),
        ([*index, "--annotation", "x", "multi"], "not KEY=VALUE"),
    ):
        assert problem in engine_root.call(*words).stderr
    assert index_of(engine_root, "multi") == found
    assert engine_root.ok("manifest", "rm", "--ignore", "none") == ""


def test_lists_are_seen_among_images_and_go_with_rmi(
    engine_root: EngineRoot, loaded: dict[str, Image]
) -> None:
    made = engine_root.ok("manifest", "create", "multi", "a:1").strip()
    rows = [line.split() for line in engine_root.ok("images").splitlines()]
    assert ["localhost/multi", "latest", made[:12]] in [row[:3] for row in rows]
    assert len(rows) == 2 + len(loaded)
    only = engine_root.ok("images", "--filter", "manifest=true", "-q", "--no-trunc").split()
    assert only == [f"sha256:{made}"]
    assert made[:12] not in engine_root.ok("images", "-q", "--filter", "manifest=false")
    digest = images.digest(loaded["localhost/a:1"].manifest)
    shown = engine_root.ok("images", "--format", "{{.Repository}}", "--filter", f"digest={digest}")
    assert shown == "localhost/a\n"
    assert engine_root.ok("images", "-q", "--filter", "intermediate=true") == ""
    assert engine_root.ok("images", "-q", "--filter", "readonly=true") == ""
    assert engine_root.ok("image", "exists", "multi") == ""
    assert (
        engine_root.ok("rmi", made[:12]) == f"Untagged: localhost/multi:latest\nDeleted: {made}\n"
    )
    engine_root.fails("rmi", "multi", status=1)
    engine_root.ok("manifest", "create", "multi", "a:1")
    out = engine_root.ok("rmi", "-a")
    assert f"Deleted: {made}" in out
    assert engine_root.images() == []


def test_a_list_that_cannot_be_made_is_not_left_half(
    engine_root: EngineRoot, loaded: dict[str, Image]
) -> None:
    assert "an image has that name" in engine_root.fails("manifest", "create", "a:1")
    problem = engine_root.fails("manifest", "create", "multi", "a:1", "oci:/no/such")
    assert "/no/such does not exist" in problem
    assert engine_root.call("manifest", "exists", "multi").returncode == 1
    assert len(loaded) == 2


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_pushed_list_has_all_its_images(
    engine_root: EngineRoot, loaded: dict[str, Image], tmp_path: Path
) -> None:
    other = Image([Layer().add("other").tar()])
    archive = images.oci_archive(tmp_path / "o.tar", {"o": other})
    with debian_registry(tmp_path) as host:
        engine_root.ok("skopeo", "copy", "-q", f"oci-archive:{archive}", f"docker://{host}/o:1")
        words = ["multi", "a:1", "b:1", f"docker://{host}/o:1"]
        engine_root.ok("manifest", "create", *words)
        digests = [images.digest(one.manifest) for one in (*loaded.values(), other)]
        for digest, arch in zip(digests, (images.ARCHITECTURE, "arm", "vax"), strict=True):
            engine_root.ok("manifest", "annotate", "--arch", arch, "multi", digest)
        digest = engine_root.ok("manifest", "push", "-q", "multi", f"docker://{host}/m:1").strip()
        seen = engine_root.ok("skopeo", "inspect", "--raw", f"docker://{host}/m:1")
        assert images.digest(seen.encode()) == digest
        assert [entry["digest"] for entry in json.loads(seen)["manifests"]] == digests
        assert json.loads(seen)["mediaType"] == "application/vnd.oci.image.index.v1+json"
        pulled = engine_root.ok("pull", "-q", "--arch", "vax", f"{host}/m:1").strip()
        assert pulled == other.id
        assert engine_root.ok("manifest", "inspect", f"{host}/m:1") == (
            engine_root.ok("manifest", "inspect", "multi")
        )
        place = f"oci:{tmp_path}/layout:m"
        assert engine_root.ok("manifest", "push", "-q", "--rm", "multi", place).strip() == digest
        assert engine_root.call("manifest", "exists", "multi").returncode == 1
        engine_root.ok("manifest", "create", "listed", "a:1")
        engine_root.ok("push", "-q", "--all", "--digestfile", tmp_path / "d", "listed",
                       f"{host}/listed:1")  # fmt: skip
        seen = engine_root.ok("skopeo", "inspect", "--raw", f"docker://{host}/listed:1")
        assert images.digest(seen.encode()) == (tmp_path / "d").read_text()
        assert "image not known" in engine_root.fails("push", "listed", f"{host}/listed:2")
        engine_root.ok("manifest", "create", "--all", "again", f"docker://{host}/m:1")
        assert len(index_of(engine_root, "again")["manifests"]) == 3


def test_a_list_of_an_image_that_is_gone_says_so(
    engine_root: EngineRoot, loaded: dict[str, Image], tmp_path: Path, registry: SmallRegistry
) -> None:
    engine_root.ok("manifest", "create", "multi", "a:1")
    engine_root.ok("rmi", "a:1")
    message = engine_root.fails("manifest", "push", "multi", f"dir:{tmp_path}/d")
    assert f"{loaded['localhost/a:1'].id}: image not known" in message
    assert "manifest unknown" in engine_root.fails("manifest", "inspect", f"{registry.host}/no")


def test_a_list_is_pushed_with_each_image_in_two_compressions(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-q", "-i", images.oci_archive(tmp_path / "a.tar", {"x:1": image}))
    engine_root.ok("manifest", "create", "multi", "x:1")
    layout = tmp_path / "layout"
    words = ["manifest", "push", "-q", "--add-compression", "zstd", "--add-compression", "gzip"]
    engine_root.ok(*words, "multi", f"oci:{layout}:x")

    def blob(entry: dict[str, Any]) -> dict[str, Any]:
        data = (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()
        assert len(data) == entry["size"]
        found: dict[str, Any] = json.loads(data)
        return found

    (top,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    index = blob(top)
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    first, second = index["manifests"]  # it was packed with gzip before
    assert first["digest"] == images.digest(image.manifest)
    assert second["annotations"] == {"io.github.containers.compression.zstd": "true"}
    assert second["platform"] == first["platform"]
    assert [blob(one)["layers"][0]["mediaType"].rpartition("+")[2] for one in (first, second)] == [
        "gzip", "zstd"
    ]  # fmt: skip
    assert blob(second)["config"]["digest"] == f"sha256:{image.id}"
    assert engine_root.ok("pull", "-q", f"oci:{layout}:x") == f"{image.id}\n"


@pytest.mark.needs("docker-registry")
def test_an_artifact_of_files_is_listed_pushed_and_found_by_its_subject(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-q", "-i", images.oci_archive(tmp_path / "a.tar", {"x:1": image}))
    (tmp_path / "bom.json").write_text("{}\n")
    (tmp_path / "data").write_bytes(b"\0\1")
    kind = "application/vnd.example.sbom"
    files = [tmp_path / "bom.json", tmp_path / "data"]
    add = ["manifest", "add", "--artifact", "--artifact-type", kind]
    engine_root.ok("manifest", "create", "multi", "x:1")
    with debian_registry(tmp_path) as host:
        engine_root.ok("push", "-q", "x:1", f"docker://{host}/y:image")
        subject = ["--artifact-subject", f"docker://{host}/y:image", "--annotation", "a=b"]
        engine_root.ok(*add, *subject, "multi", *files)
        there = f"docker://{host}/y:multi"
        engine_root.ok("manifest", "push", "-q", "multi", there)
        raw = ["skopeo", "inspect", "--raw"]
        first, listed = json.loads(engine_root.ok(*raw, there))["manifests"]
        assert first["digest"] == images.digest(image.manifest)
        assert (listed["artifactType"], listed["annotations"]) == (kind, {"a": "b"})
        assert "platform" not in listed
        manifest = json.loads(engine_root.ok(*raw, f"docker://{host}/y@{listed['digest']}"))
        assert manifest["subject"]["digest"] == images.digest(image.manifest)
        assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
        said = [(one["mediaType"], one["annotations"]) for one in manifest["layers"]]
        title = "org.opencontainers.image.title"
        assert said == [("application/json", {title: "bom.json"}),
                        ("application/octet-stream", {title: "data"})]  # fmt: skip
        tag = images.digest(image.manifest).replace(":", "-")  # it has no referrers API
        found = json.loads(engine_root.ok(*raw, f"docker://{host}/y:{tag}"))["manifests"]
        assert [one["digest"] for one in found] == [listed["digest"]]
    engine_root.ok("manifest", "create", "other")
    plain = ["--artifact-exclude-titles", "--artifact-layer-type", "text/x"]
    engine_root.ok(*add, *plain, "--artifact-config", tmp_path / "bom.json", "other", files[1])
    (tmp_path / "data").write_bytes(b"\0\2")
    push = ["manifest", "push", "-q", "other", f"oci:{tmp_path}/layout:x"]
    assert f"the digest of blob {images.digest(bytes([0, 1]))} is" in engine_root.fails(*push)
    (tmp_path / "data").unlink()
    assert f"read {tmp_path}/data: No such file" in engine_root.fails(*push)
    assert not (tmp_path / "layout/index.json").exists()
    assert "No such file" in engine_root.fails(*add, "other", tmp_path / "none")
    assert "need --artifact" in engine_root.fails("manifest", "add", *add[3:], "other", "x:1")
