"""Registries, archives and directories: what skopeo and podman write is read, and the other way."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.peers import fails, run
from support.registry import Certificates, debian_registry, token_server

pytestmark = pytest.mark.needs("root", "busybox", "docker-registry", "openssl", "skopeo")

Skopeo = Callable[..., str]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[str]:
    """A registry without TLS."""
    with debian_registry(tmp_path) as host:
        yield host


@pytest.fixture(scope="module")
def image() -> Image:
    second = Layer().add("etc/.wh.group").add("etc/passwd", b"root:x:0:0::/:/bin/sh\n").tar()
    return Image([images.busybox_layer(), second], Labels={"for": "tests"})


@pytest.fixture
def ours(pyengine_path: str) -> Skopeo:
    return lambda *words: run(pyengine_path, "skopeo", *words)


@pytest.fixture
def skopeo() -> Skopeo:
    return lambda *words: run("skopeo", *words)


def raw_digest(skopeo: Skopeo, place: str) -> str:
    return images.digest(skopeo("inspect", "--tls-verify=false", "--raw", place).encode())


@pytest.mark.parametrize("form", ["docker://HOST/some/thing:1", "oci:DIR/layout:name",
                                  "oci-archive:DIR/a.tar:name", "dir:DIR/d"])  # fmt: skip
def test_a_pushed_image_keeps_its_digest_for_skopeo(
    engine_root: EngineRoot, image: Image, tmp_path: Path, plain: str, skopeo: Skopeo, form: str
) -> None:
    archive = images.oci_archive(tmp_path / "in.tar", {"localhost/x:1": image})
    engine_root.ok("load", "-i", archive)
    place = form.replace("HOST", plain).replace("DIR", str(tmp_path))
    engine_root.ok("push", "--digestfile", tmp_path / "digest", "x:1", place)
    assert (tmp_path / "digest").read_text() == images.digest(image.manifest)
    assert raw_digest(skopeo, place) == images.digest(image.manifest)
    skopeo("copy", "-q", "--src-tls-verify=false", place, f"oci:{tmp_path}/check")
    engine_root.ok("rmi", "x:1")
    assert engine_root.ok("pull", "-q", place).strip() == image.id
    assert engine_root.orphans() == set()


@pytest.mark.needs("podman", "buildah")
def test_what_podman_and_buildah_push_is_pulled_and_comes_back_to_them(
    engine_root: EngineRoot, image: Image, tmp_path: Path, plain: str, skopeo: Skopeo
) -> None:
    archive = images.oci_archive(tmp_path / "in.tar", {"localhost/x:1": image})
    with tempfile.TemporaryDirectory() as runroot:  # podman wants a short path
        common = ["--root", str(tmp_path / "theirs"), "--runroot", runroot]
        common += ["--storage-driver", "vfs"]
        podman, buildah = ["podman", *common], ["buildah", *common]
        insecure = "--tls-verify=false"
        run(*podman, "load", "-q", "-i", archive)
        for who, program in (("podman", podman), ("buildah", buildah)):
            there = f"docker://{plain}/{who}:1"
            run(*program, "push", "-q", insecure, "localhost/x:1", there)
            pushed = raw_digest(skopeo, there)
            assert engine_root.ok("pull", "-q", there).strip() == image.id
            (listed,) = engine_root.images()
            assert listed["RepoDigests"] == [f"{plain}/{who}@{pushed}"]
            back = f"docker://{plain}/{who}:back"
            engine_root.ok("push", "-q", f"{plain}/{who}:1", back)
            assert raw_digest(skopeo, back) == pushed
            run(*podman, "rmi", "-a", "-f")
            run(*program, "pull", "-q", insecure, back)
            (theirs,) = json.loads(run(*podman, "images", "--format", "json"))
            assert (theirs["Id"], theirs["Digest"]) == (image.id, pushed)
            run(*podman, "tag", f"{plain}/{who}:back", "localhost/x:1")
            engine_root.ok("rmi", "-a", "-f")
        # a list made by each is read by the other
        run(*podman, "manifest", "create", "localhost/list", "containers-storage:localhost/x:1")
        run(*podman, "manifest", "push", "-q", insecure, "--all", "localhost/list",
            f"docker://{plain}/list:1")  # fmt: skip
        assert engine_root.ok("pull", "-q", f"{plain}/list:1").strip() == image.id
        engine_root.ok("manifest", "create", "ours", f"{plain}/list:1")
        engine_root.ok("manifest", "push", "-q", "ours", f"docker://{plain}/list:2")
        run(*podman, "pull", "-q", insecure, f"{plain}/list:2")
        found = json.loads(run(*podman, "image", "inspect", f"{plain}/list:2"))
        assert found[0]["Id"] == image.id
        run(*podman, "rmi", "-a", "-f")
    assert engine_root.orphans() == set()


def test_a_docker_archive_that_was_pushed_is_read(
    engine_root: EngineRoot, image: Image, tmp_path: Path, skopeo: Skopeo
) -> None:
    archive = images.oci_archive(tmp_path / "in.tar", {"localhost/x:1": image})
    engine_root.ok("load", "-i", archive)
    place = f"docker-archive:{tmp_path}/out.tar:example.com/x:1"
    engine_root.ok("push", "x:1", place)
    manifest = json.loads(skopeo("inspect", "--raw", place))
    assert manifest["config"]["digest"] == f"sha256:{image.id}"
    assert "cannot" not in engine_root.fails("push", "x:1", place)
    assert "doesn't support modifying" in engine_root.fails("push", "x:1", place)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layers_are_compressed_anew_where_that_is_asked_for(
    engine_root: EngineRoot, tmp_path: Path, plain: str, skopeo: Skopeo, compression: str
) -> None:
    image = Image([images.busybox_layer(), Layer().add("x" * 90, bytes(9_000_000)).tar()], "none")
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "in.tar", {"x:1": image}))
    name = f"docker://{plain}/x:1"
    level = ["--compression-level", "1"]
    engine_root.ok("push", "-q", "--compression-format", compression, *level, "x:1", name)
    manifest = json.loads(skopeo("inspect", "--tls-verify=false", "--raw", name))
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        f"application/vnd.oci.image.layer.v1.tar+{compression}"
    ] * 2
    assert manifest["config"]["digest"] == f"sha256:{image.id}"
    engine_root.ok("rmi", "x:1")
    assert engine_root.ok("pull", "-q", name).strip() == image.id


def test_formats_are_converted_both_ways(
    ours: Skopeo, skopeo: Skopeo, image: Image, tmp_path: Path, plain: str
) -> None:
    archive = images.oci_archive(tmp_path / "in.tar", {"x": image})
    there = f"docker://{plain}/x:v2"
    ours("copy", "-f", "v2s2", "--dest-tls-verify=false", f"oci-archive:{archive}", there)
    manifest = json.loads(skopeo("inspect", "--tls-verify=false", "--raw", there))
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert manifest["layers"][0]["mediaType"].endswith("rootfs.diff.tar.gzip")
    ours("copy", "--src-tls-verify=false", there, f"oci:{tmp_path}/back:x")
    back = json.loads(skopeo("inspect", "--raw", f"oci:{tmp_path}/back:x"))
    assert back == json.loads(image.manifest)
    problem = fails(
        1, *command_of(ours), "copy", "--preserve-digests", "-f", "v2s2", f"oci-archive:{archive}",
        f"dir:{tmp_path}/no",
    )  # fmt: skip
    assert "its manifest would change (--preserve-digests)" in problem


def command_of(_ours: Skopeo) -> list[str]:
    from conftest import _program

    return [_program("pyengine"), "skopeo"]


def test_registry_to_registry_needs_no_store_and_moves_no_blob_twice(
    pyengine_path: str, skopeo: Skopeo, image: Image, tmp_path: Path, plain: str
) -> None:
    archive = images.oci_archive(tmp_path / "in.tar", {"x": image})
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}",
           f"docker://{plain}/one:1")  # fmt: skip
    nowhere = ["--root", "/proc/none", "--runroot", "/proc/none"]
    out = run(pyengine_path, *nowhere, "skopeo", "copy", "--dry-run", f"docker://{plain}/one:1",
              f"docker://{plain}/two/x:2")  # fmt: skip
    assert out == f"Would have copied image docker://{plain}/one:1 to docker://{plain}/two/x:2\n"
    out = run(pyengine_path, *nowhere, "skopeo", "copy", f"docker://{plain}/one:1",
              f"docker://{plain}/two/x:2")  # fmt: skip
    assert out.count("skipped: already exists") == 2  # mounted from the other repository
    assert raw_digest(skopeo, f"docker://{plain}/two/x:2") == images.digest(image.manifest)


def test_inspect_list_tags_and_delete_are_skopeos(
    ours: Skopeo, skopeo: Skopeo, image: Image, tmp_path: Path, plain: str
) -> None:
    archive = images.oci_archive(tmp_path / "in.tar", {"x": image})
    for tag in ("b", "a"):
        place = f"docker://{plain}/x:{tag}"
        ours("copy", "-q", f"oci-archive:{archive}", place)
    verify = "--tls-verify=false"
    for words in (["inspect", verify, place], ["inspect", verify, "--raw", place],
                  ["inspect", verify, "--config", "--raw", place],
                  ["inspect", verify, "--format", "{{.Name}} {{.Digest}} {{.Layers}}", place],
                  ["list-tags", verify, f"docker://{plain}/x"],
                  ["inspect", f"oci-archive:{archive}"]):  # fmt: skip
        mine, theirs = ours(*words), skopeo(*words)
        if words[0] == "inspect" and len(words) == 3 - (":" in words[1]):
            known = json.loads(mine)
            assert known.pop("LayersData")[0]["Digest"] == images.digest(image.packed[0])
            assert known == json.loads(theirs)
        else:
            assert mine == theirs
    (tmp_path / "m").write_bytes(image.manifest)
    assert ours("manifest-digest", str(tmp_path / "m")).strip() == images.digest(image.manifest)
    ours("delete", verify, f"docker://{plain}/x:a")
    assert "manifest unknown" in fails(1, "skopeo", "inspect", verify, f"docker://{plain}/x:b")
    assert "manifest unknown" in fails(1, *command_of(ours), "delete", f"docker://{plain}/x:a")


def test_all_images_of_a_list_are_copied_with_their_digests(
    ours: Skopeo, skopeo: Skopeo, image: Image, tmp_path: Path, plain: str
) -> None:
    other = Image([Layer().add("other").tar()])
    index = write_index(tmp_path / "layout", {"pdp11": other, images.ARCHITECTURE: image})
    there = f"docker://{plain}/multi:1"
    ours("copy", "--all", f"oci:{tmp_path}/layout:multi", there)
    assert raw_digest(skopeo, there) == images.digest(index)
    for target in (f"oci:{tmp_path}/back:m", f"dir:{tmp_path}/back-dir"):
        ours("copy", "-q", "--all", there, target)
        assert raw_digest(skopeo, target) == images.digest(index)
    ours("copy", "-q", there, f"dir:{tmp_path}/one")
    assert (tmp_path / "one/manifest.json").read_bytes() == image.manifest
    words = ["--override-arch", "pdp11", "copy", "-q", there, f"dir:{tmp_path}/two"]
    ours(*words)
    assert (tmp_path / "two/manifest.json").read_bytes() == other.manifest
    problem = fails(1, *command_of(ours), "copy", "--all", there, f"docker-archive:{tmp_path}/n")
    assert "it holds one image only" in problem


def write_index(directory: Path, by_architecture: dict[str, Image]) -> bytes:
    """An OCI layout with an index of images; the index' bytes."""
    entries = [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(one.manifest),
         "digest": images.digest(one.manifest), "platform": {"os": "linux", "architecture": name}}
        for name, one in by_architecture.items()
    ]  # fmt: skip
    media_type = "application/vnd.oci.image.index.v1+json"
    index = images.encode({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})
    blobs = {images.digest(index): index}
    for one in by_architecture.values():
        blobs |= one.blobs
    top = {"mediaType": media_type, "size": len(index), "digest": images.digest(index),
           "annotations": {"org.opencontainers.image.ref.name": "multi"}}  # fmt: skip
    (directory / "blobs/sha256").mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_bytes(images.encode({"schemaVersion": 2, "manifests": [top]}))
    for name, data in blobs.items():
        (directory / "blobs/sha256" / name[7:]).write_bytes(data)
    return index


def test_sync_copies_what_skopeo_copies(
    ours: Skopeo, skopeo: Skopeo, image: Image, tmp_path: Path, plain: str
) -> None:
    archive = images.oci_archive(tmp_path / "in.tar", {"x": image})
    for name in ("a/b:1", "a/b:2", "c:1"):
        ours("copy", "-q", f"oci-archive:{archive}", f"docker://{plain}/{name}")
    file = tmp_path / "sync.yml"
    file.write_text(f"'{plain}':\n  tls-verify: false\n  images: {{c: [], a/b: ['2']}}\n")
    sources = (["--src", "docker", f"{plain}/a/b"], ["--src", "yaml", str(file)])
    for number, (kind, name, source) in enumerate(sources):
        for scoped in ([], ["--scoped"]):
            trees = []
            for who, program in (("ours", ours), ("skopeo", skopeo)):
                target = tmp_path / f"{who}-{number}-{len(scoped)}"
                target.mkdir()
                program("sync", kind, name, "--dest", "dir", "--src-tls-verify=false", *scoped,
                        source, str(target))  # fmt: skip
                trees.append({str(path.relative_to(target)) for path in target.rglob("*")})
            assert trees[0] == trees[1]
            assert trees[0]
    source = str(tmp_path / "ours-0-0")
    ours("sync", "--src", "dir", "--dest", "docker", "--dest-tls-verify=false", source,
         f"{plain}/mirror")  # fmt: skip
    tags = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{plain}/mirror/b"))
    assert sorted(tags["Tags"]) == ["1", "2"]
    file.write_text(f"'{plain}':\n  tls-verify: false\n  images-by-semver: {{a/b: '>= 1.5'}}\n")
    words = ["sync", "--src", "yaml", "--dest", "docker", "--dest-tls-verify=false",
             "--append-suffix", "-copy", "--digestfile", str(tmp_path / "digests")]  # fmt: skip
    ours(*words, str(file), f"{plain}/semver")
    digest = images.digest(image.manifest)
    assert (tmp_path / "digests").read_text() == f"{digest} docker://{plain}/semver/b:2-copy\n"
    assert raw_digest(skopeo, f"docker://{plain}/semver/b:2-copy") == digest
    file.write_text(f"'{plain}':\n  tls-verify: false\n  images-by-semver: {{a/b: 'new'}}\n")
    problem = fails(1, *command_of(ours), *words, file, f"{plain}/semver")
    assert "version constraint 'new': improper at" in problem
    problem = fails(1, *command_of(ours), "sync", "--src", "dir", "--dest", "dir", tmp_path / "reg",
                    tmp_path / "out")  # fmt: skip
    assert "no images to sync" in problem


def test_sync_fills_a_layout_and_comes_back_from_it(
    ours: Skopeo, skopeo: Skopeo, image: Image, tmp_path: Path, plain: str
) -> None:
    """skopeo's sync has no such side; its copy reads what ours writes."""
    archive = images.oci_archive(tmp_path / "in.tar", {"x": image})
    digest = images.digest(image.manifest)
    for name in ("a/b:1", "a/b:2"):
        ours("copy", "-q", f"oci-archive:{archive}", f"docker://{plain}/{name}")
    layout = f"{tmp_path}/layout"
    words = ["sync", "--src", "docker", "--dest", "oci", "--src-tls-verify=false"]
    ours(*words, f"{plain}/a/b", layout)
    ours(*words, "--scoped", f"{plain}/a/b:1", f"{layout}-scoped")
    for place in (f"{layout}:b:1", f"{layout}:b:2", f"{layout}-scoped:{plain}/a/b:1"):
        assert raw_digest(skopeo, f"oci:{place}") == digest
    assert len(os.listdir(f"{layout}/blobs/sha256")) == len(image.blobs)  # shared
    ours("sync", "--src", "oci", "--dest", "docker", "--dest-tls-verify=false", layout,
         f"{plain}/mirror")  # fmt: skip
    assert raw_digest(skopeo, f"docker://{plain}/mirror/b:2") == digest
    ours("copy", "-q", f"oci-archive:{archive}", f"oci:{tmp_path}/nameless")
    problem = fails(1, *command_of(ours), "sync", "--src", "oci", "--dest", "dir",
                    f"{tmp_path}/nameless", f"{tmp_path}/out")  # fmt: skip
    assert f"image {digest} has no name to copy it under" in problem


def test_a_registry_with_tls_and_passwords(
    engine_root: EngineRoot, image: Image, tmp_path: Path, certificates: Certificates
) -> None:
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "in.tar", {"x:1": image}))
    directory = tmp_path / "certs"
    directory.mkdir()
    (directory / "ca.crt").write_bytes(certificates.authority.read_bytes())
    trust, auth = str(directory), str(tmp_path / "auth.json")
    with debian_registry(tmp_path, certificates=certificates, basic=True) as host:
        push = [
            "push",
            "-q",
            "--cert-dir",
            trust,
            "--authfile",
            auth,
            "x:1",
            f"{host}/x:1",
        ]
        login = [
            "login",
            "--cert-dir",
            trust,
            "--authfile",
            auth,
            "-u",
            "me",
            "-p",
        ]
        assert "certificate verify failed" in engine_root.fails(
            "login", "-u", "me", "-p", "s", host
        )
        assert "unauthorized" in engine_root.fails(*login, "wrong", host)
        assert not os.path.exists(auth)
        assert engine_root.ok(*login, "secret", host) == "Login Succeeded!\n"
        assert os.stat(auth).st_mode & 0o777 == 0o600
        assert engine_root.ok("login", "--get-login", "--authfile", auth, host) == "me\n"
        engine_root.ok(*push)
        run("skopeo", "inspect", "--authfile", auth, "--cert-dir", trust, f"docker://{host}/x:1")
        assert engine_root.ok("logout", "--authfile", auth, host) == (
            f"Removed login credentials for {host}\n"
        )
        assert f"Not logged into {host}" in engine_root.fails("logout", "--authfile", auth, host)
        assert "unauthorized" in engine_root.fails(*push)
        run("skopeo", "login", "--cert-dir", trust, "--authfile", auth, "-u", "me", "-p", "secret",
            host)  # fmt: skip
        engine_root.ok(*push)
        pull = [
            "pull",
            "-q",
            "--cert-dir",
            trust,
            "--creds",
            "me:secret",
            f"{host}/x:1",
        ]
        assert engine_root.ok(*pull).strip() == image.id
        engine_root.ok("pull", "-q", "--tls-verify=false", "--creds", "me:secret", f"{host}/x:1")


def test_a_registry_with_tokens_is_asked_for_the_scopes_that_are_needed(
    engine_root: EngineRoot, image: Image, tmp_path: Path, certificates: Certificates
) -> None:
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "in.tar", {"x:1": image}))
    access = ["--tls-verify=false", "--creds", "me:secret"]
    with (
        token_server(certificates) as (server, scopes),
        debian_registry(tmp_path, certificates=certificates, token_server=server) as host,
    ):
        engine_root.ok("push", "-q", *access, "x:1", f"{host}/one:1")
        assert scopes == [["repository:one:pull,push"]]
        scopes.clear()
        sides = [f"--{side}-{word}" for side in ("src", "dest") for word in
                 ("tls-verify=false", "creds=me:secret")]  # fmt: skip
        out = engine_root.ok("skopeo", "copy", *sides, f"docker://{host}/one:1",
                             f"docker://{host}/two:1")  # fmt: skip
        assert out.count("skipped: already exists") == 2
        assert ["repository:two:pull,push", "repository:one:pull"] in scopes
        problem = engine_root.fails("pull", "--tls-verify=false", f"{host}/one:1")
        assert "token: unauthorized: authentication required" in problem
