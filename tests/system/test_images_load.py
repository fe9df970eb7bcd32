"""load, images, tag, untag and rmi on real archives."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer

pytestmark = pytest.mark.needs("root", "busybox")


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bz2": lambda data: bz2.compress(data, 1),
    "lzma": lambda data: lzma.compress(data, preset=0),
    "zstd": lambda data: zstandard.ZstdCompressor(1).compress(data),
}


@pytest.mark.parametrize("kind", [images.oci_archive, images.docker_archive])
@pytest.mark.parametrize("how", ["file", "stdin", "gzip", "bz2", "lzma", "zstd"])
def test_an_archive_is_loaded_under_its_name(
    engine_root: EngineRoot, tmp_path: Path, kind: images.ArchiveWriter, how: str
) -> None:
    image = images.busybox_image()
    path = kind(tmp_path / "a.tar", {"busybox:1": image})
    if how in COMPRESSORS:
        path.write_bytes(COMPRESSORS[how](path.read_bytes()))
    if how == "stdin":
        out = engine_root.ok("load", stdin=path.read_bytes())
    else:
        out = engine_root.ok("load", "-i", path)
    assert out == "Loaded image: localhost/busybox:1\n"
    assert [one["Id"] for one in engine_root.images()] == [image.id]
    assert engine_root.orphans() == set()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_layers_of_every_compression_are_unpacked(
    engine_root: EngineRoot, tmp_path: Path, compression: str
) -> None:
    image = Image([images.busybox_layer()], compression)
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x": image}))
    (layer,) = (engine_root.root / "layers").iterdir()
    assert (layer / "bin/busybox").read_bytes() == Path("/bin/busybox").read_bytes()
    assert (layer / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_several_images_share_what_they_have_in_common(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    base = images.busybox_layer()
    more = Layer().add("etc/more", b"more").tar()
    pair = {"one:1": Image([base]), "two:2": Image([base, more])}
    out = engine_root.ok("load", "-i", images.docker_archive(tmp_path / "a.tar", pair))
    assert out.splitlines() == ["Loaded image: localhost/one:1", "Loaded image: localhost/two:2"]
    assert len(list((engine_root.root / "layers").iterdir())) == 2
    engine_root.ok("rmi", "two:2")
    assert len(list((engine_root.root / "layers").iterdir())) == 1
    engine_root.ok("rmi", "one:1")
    assert engine_root.is_empty()


def test_a_layer_is_unpacked_faithfully(engine_root: EngineRoot, tmp_path: Path) -> None:
    layer = Layer()
    layer.directory("./", 0o755)
    layer.directory("d", 0o750, uid=12, gid=34, mtime=1_000_000_000)
    layer.add("d/file", b"text", mode=0o4711, uid=1, gid=2, mtime=1_234_567_890)
    layer.hardlink("d/same", "d/file")
    layer.symlink("d/link", "/etc/passwd")
    layer.add("d/fifo", type=tarfile.FIFOTYPE)
    layer.add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    layer.add("cap", b"x", pax_headers={"SCHILY.xattr.user.note": "value"})
    layer.add("precise", b"", pax_headers={"mtime": "1600000000.123456789"})
    layer.add(".wh.removed").add("replaced/.wh..wh..opq")
    engine_root.ok(
        "load", "-i", images.oci_archive(tmp_path / "a.tar", {"x": Image([layer.tar()])})
    )
    (root,) = (engine_root.root / "layers").iterdir()
    directory, file = (root / "d").stat(), (root / "d/file").stat()
    assert (directory.st_mode & 0o7777, directory.st_uid, directory.st_gid) == (0o750, 12, 34)
    assert directory.st_mtime == 1_000_000_000
    assert (file.st_mode & 0o7777, file.st_uid, file.st_gid) == (0o4711, 1, 2)
    assert file.st_mtime == 1_234_567_890
    assert (root / "d/same").stat().st_ino == file.st_ino
    assert os.readlink(root / "d/link") == "/etc/passwd"
    assert (root / "d/fifo").is_fifo()
    assert (root / "null").stat().st_rdev == os.makedev(1, 3)
    assert os.getxattr(root / "cap", "user.note") == b"value"
    assert (root / "precise").stat().st_mtime_ns == 1_600_000_000_123_456_789
    removed = (root / "removed").stat()
    assert (root / "removed").is_char_device()
    assert removed.st_rdev == 0
    assert os.getxattr(root / "replaced", "trusted.overlay.opaque") == b"y"


def test_an_absolute_member_lands_inside_the_layer(engine_root: EngineRoot, tmp_path: Path) -> None:
    """As podman takes it: some builders write every name with a leading slash."""
    marker = f"/pyengine-test-{os.getpid()}"
    layer = Layer().add(marker, b"inside").tar()
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x": Image([layer])}))
    (root,) = (engine_root.root / "layers").iterdir()
    assert (root / marker[1:]).read_bytes() == b"inside"
    assert not Path(marker).exists()


HOSTILE = {
    "parent path": (Layer().add("../escaped", b"x"), "leads out of the layer"),
    "parent path inside": (Layer().add("a/../../escaped", b"x"), "leads out of the layer"),
    "block device": (
        Layer().add("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
        "block device 8:0 is not allowed",
    ),
    "character device": (
        Layer().add("mem", type=tarfile.CHRTYPE, devmajor=1, devminor=1),
        "character device 1:1 is not allowed",
    ),
    "through an absolute symlink": (
        Layer().symlink("etc", "/etc").add("etc/escaped", b"x"),
        "etc on its way is no directory",
    ),
    "through a relative symlink": (
        Layer().directory("d").symlink("d/up", "../../..").add("d/up/escaped", b"x"),
        "d/up on its way is no directory",
    ),
    "hard link out": (Layer().hardlink("x", "../../etc/passwd"), "leads out of the layer"),
    "hard link absolute": (Layer().hardlink("x", "/etc/shadow"), "which is not there"),
    "hard link through symlink": (
        Layer().symlink("s", "/etc").hardlink("x", "s/passwd"),
        "s on its way is no directory",
    ),
    "overlay attribute": (
        Layer().add("x", b"", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc"}),
        "extended attribute trusted.overlay.redirect is not allowed",
    ),
    "whiteout of the parent": (Layer().add(".wh..."), "a whiteout of no entry"),
    "root is a file": (Layer().add(".", b"x"), "the root must be a directory"),
    "unknown type": (Layer().add("x", type=b"Z", size=0), "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_layer_is_refused_and_leaves_nothing(
    engine_root: EngineRoot, tmp_path: Path, name: str
) -> None:
    layer, problem = HOSTILE[name]
    data = layer.tar()
    image = Image([images.busybox_layer(), data])
    before = set(os.listdir("/etc"))
    message = engine_root.fails("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x": image}))
    assert f"unpack layer {images.digest(image.packed[1])}: member " in message
    assert problem in message
    assert engine_root.is_empty()
    assert set(os.listdir("/etc")) == before


def broken_blob(files: dict[str, bytes], digest: str, data: bytes) -> dict[str, bytes]:
    return {**files, f"blobs/{digest.replace(':', '/')}": data}


def broken_archives() -> dict[str, tuple[dict[str, bytes], str]]:
    image = images.busybox_image()
    files = images.oci_files({"x": image})
    layer = images.digest(image.packed[0])
    config = images.digest(image.config)
    manifest = images.digest(image.manifest)
    flipped = image.packed[0][:-1] + bytes([image.packed[0][-1] ^ 1])
    docker = images.docker_files({"x": image})
    other_layer = {name: data if name.endswith("json") else Layer().tar()
                   for name, data in docker.items()}  # fmt: skip
    missing = {name: data for name, data in files.items() if layer[7:] not in name}
    return {
        "layer digest": (broken_blob(files, layer, flipped), f"verify layer {layer}: the digest"),
        "layer cut": (
            broken_blob(files, layer, image.packed[0][:99]),
            "99 bytes came",
        ),
        "layer missing": (missing, f"{layer[7:]} is not in the archive"),
        "config digest": (broken_blob(files, config, b"{}"), "config: its digest is sha256:44136f"),
        "manifest digest": (
            broken_blob(files, manifest, b"{}"),
            f"manifest {manifest}: its",
        ),
        "index type": ({**files, "index.json": b"[]"}, "index.json: not a JSON object"),
        "index json": ({**files, "index.json": b"{"}, "index.json: not JSON"),
        "diff id": (other_layer, "verify layer"),
        "docker json": ({**docker, "manifest.json": b"{}"}, "manifest.json: not a list of images"),
        "nothing": ({"x": b""}, "payload does not match any of the supported image formats"),
    }


@pytest.mark.parametrize("name", broken_archives())
def test_a_broken_archive_is_refused_and_leaves_nothing(
    engine_root: EngineRoot, tmp_path: Path, name: str
) -> None:
    files, problem = broken_archives()[name]
    path = images.write_tar(tmp_path / "a.tar", files)
    assert problem in engine_root.fails("load", "-i", path)
    assert engine_root.is_empty()


@pytest.mark.parametrize("form", ["plain", *COMPRESSORS])
def test_a_truncated_archive_is_refused_and_leaves_nothing(
    engine_root: EngineRoot, tmp_path: Path, form: str
) -> None:
    path = images.oci_archive(tmp_path / "a.tar", {"x": images.busybox_image()})
    data = path.read_bytes()
    data = COMPRESSORS[form](data) if form in COMPRESSORS else data
    message = engine_root.fails("load", stdin=data[: len(data) // 2])
    assert "load standard input: " in message
    assert "ends" in message
    assert engine_root.is_empty()


def test_what_is_no_archive_is_named(engine_root: EngineRoot, tmp_path: Path) -> None:
    assert "No such file" in engine_root.fails("load", "-i", tmp_path / "missing.tar")
    assert "payload does not match any" in engine_root.fails("load", "-i", tmp_path)
    (tmp_path / "text").write_text("hello\n" * 1000)
    assert "not a tar archive" in engine_root.fails("load", "-i", tmp_path / "text")


def test_a_config_with_wrong_types_is_refused(engine_root: EngineRoot, tmp_path: Path) -> None:
    for settings, problem in (
        ({"Env": "PATH=/bin"}, "config/config/Env: 'PATH=/bin' has the wrong type"),
        ({"Cmd": {"a": 1}}, "config/config/Cmd: {'a': 1} has the wrong type"),
        ({"Labels": ["a"]}, "config/config/Labels: ['a'] has the wrong type"),
        ({"Volumes": "/v"}, "config/config/Volumes: '/v' has the wrong type"),
    ):
        image = images.busybox_image(**settings)
        path = images.oci_archive(tmp_path / "a.tar", {"x": image})
        assert problem in engine_root.fails("load", "-i", path)
        assert engine_root.is_empty()


def test_an_image_of_another_platform_only_is_named(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    files = images.oci_files({"x": image})
    entry = json.loads(files["index.json"])["manifests"][0]
    del entry["annotations"]
    entry["platform"] = {"os": "linux", "architecture": "pdp11"}
    inner = images.encode({"schemaVersion": 2, "manifests": [entry]})
    outer = {"mediaType": "application/vnd.oci.image.index.v1+json",
             "digest": images.digest(inner), "size": len(inner)}  # fmt: skip
    files["index.json"] = images.encode({"schemaVersion": 2, "manifests": [outer]})
    files[f"blobs/sha256/{images.digest(inner)[7:]}"] = inner
    message = engine_root.fails("load", "-i", images.write_tar(tmp_path / "a.tar", files))
    assert "no image for linux/" in message
    assert "it has linux/pdp11" in message


def test_archives_of_old_and_new_docker_are_read(engine_root: EngineRoot, tmp_path: Path) -> None:
    """The old one links a layer that is there twice; the new one is a layout, packed, as well."""
    new = images.busybox_image()
    names = [f"blobs/sha256/{images.digest(data)[7:]}" for data in new.packed]
    table = {"Config": f"blobs/sha256/{new.id}", "RepoTags": ["new:1"], "Layers": names,
             "LayerSources": {images.digest(new.layers[0]): {"size": 1}}}  # fmt: skip
    files = {**images.oci_files({"new:1": new}), "manifest.json": images.encode([table])}
    engine_root.ok("load", "-q", "-i", images.write_tar(tmp_path / "new.tar", files))
    more = Layer().add("more", b"x").tar()
    old, archive = Image([images.busybox_layer(), more, more]), Layer()
    for number, data in enumerate(old.layers[:2]):
        archive.directory(f"id{number}").add(f"id{number}/layer.tar", data)
    archive.directory("id2").symlink("id2/layer.tar", "../id1/layer.tar")
    layers = [f"id{number}/layer.tar" for number in range(3)]
    rows = [{"Config": f"{old.id}.json", "RepoTags": ["old:1"], "Layers": layers}]
    archive.add(f"{old.id}.json", old.config).add("manifest.json", images.encode(rows))
    (tmp_path / "old.tar").write_bytes(archive.tar())
    engine_root.ok("load", "-q", "-i", tmp_path / "old.tar")
    assert {one["Names"][0]: one["Id"] for one in engine_root.images()} == {
        "localhost/new:1": new.id, "localhost/old:1": old.id
    }  # fmt: skip
    engine_root.ok("system", "check")


def test_an_image_without_layers_or_settings_is_one(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    nothing = Image([])
    config = {key: value for key, value in json.loads(nothing.config).items() if key != "config"}
    nothing.config = images.encode({**config, "history": None})
    manifest = json.loads(nothing.manifest)
    manifest["config"].update(digest=images.digest(nothing.config), size=len(nothing.config))
    nothing.manifest = images.encode(manifest)
    engine_root.ok("load", "-q", "-i", images.oci_archive(tmp_path / "a.tar", {"x": nothing}))
    path = engine_root.ok("image", "mount", "x").strip()
    assert os.listdir(path) == []
    for words in (["history", "x"], ["image", "tree", "x"], ["inspect", "x"], ["images"],
                  ["image", "unmount", "x"], ["save", "-o", tmp_path / "b.tar", "x"]):  # fmt: skip
        engine_root.ok(*words)
    engine_root.ok("rmi", "x")
    assert engine_root.is_empty()


def test_a_later_member_takes_the_place_of_a_whole_directory(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    layer = Layer().add("x/y/z", b"1").add("x", b"file").add("d", b"f").directory("d").tar()
    # and a layer of no bytes at all, which is an empty one for podman too
    path = images.oci_archive(tmp_path / "a.tar", {"x": Image([layer, b""], "none")})
    engine_root.ok("load", "-q", "-i", path)
    root = engine_root.root / "layers" / images.digest(layer)[7:]
    assert (root / "x").read_bytes() == b"file"
    assert (root / "d").is_dir()
    engine_root.ok("system", "check")


def test_names_are_added_taken_and_removed(engine_root: EngineRoot, tmp_path: Path) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x:1": image}))
    engine_root.ok("tag", "x:1", "y", "quay.io/z/z:3")
    assert set(engine_root.images()[0]["Names"]) == {
        "localhost/x:1", "localhost/y:latest", "quay.io/z/z:3",
    }  # fmt: skip
    engine_root.ok("untag", "x:1", "quay.io/z/z:3")
    assert engine_root.ok("rmi", "y") == "Untagged: localhost/y:latest\n"
    assert engine_root.ok("image", "exists", "x:1") == ""
    assert engine_root.call("image", "exists", "y").returncode == 1
    out = engine_root.ok("rmi", image.id[:8])
    assert out == f"Untagged: localhost/x:1\nDeleted: {image.id}\n"
    assert engine_root.is_empty()


def test_an_id_with_several_names_needs_force(engine_root: EngineRoot, tmp_path: Path) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x": image}))
    engine_root.ok("tag", "x", "y")
    message = engine_root.fails("rmi", image.id)
    assert "by ID with more than one tag ([localhost/x:latest localhost/y:latest])" in message
    engine_root.ok("rmi", "-f", image.id)
    assert engine_root.is_empty()


def test_removing_an_unknown_image_exits_with_1(engine_root: EngineRoot) -> None:
    assert engine_root.fails("rmi", "nope", status=1) == "Error: nope: image not known"
    engine_root.ok("rmi", "--ignore", "nope")


def test_an_image_of_a_container_is_in_use(engine_root: EngineRoot, tmp_path: Path) -> None:
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar",
                                                    {"x": images.busybox_image()}))  # fmt: skip
    container = engine_root.ok("create", "x", "true").strip()
    message = engine_root.fails("rmi", "x", status=2)
    assert f"image used by {container}: image is in use by a container" in message
    engine_root.ok("tag", "x", "y")
    assert engine_root.ok("rmi", "-f", "y") == "Untagged: localhost/y:latest\n"
    assert engine_root.ok("ps", "-aq", "--no-trunc") == f"{container}\n"
    engine_root.ok("rmi", "-f", "x")
    assert engine_root.ok("ps", "-aq") == ""
    assert engine_root.is_empty()


def test_images_prints_what_is_asked_for(engine_root: EngineRoot, tmp_path: Path) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x:1": image}))
    heading, row = engine_root.ok("images").splitlines()
    assert heading.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert row.split()[:3] == ["localhost/x", "1", image.id[:12]]
    assert engine_root.ok("images", "-q") == f"{image.id[:12]}\n"
    assert engine_root.ok("images", "-q", "--no-trunc") == f"sha256:{image.id}\n"
    assert engine_root.ok("images", "--noheading").split()[0] == "localhost/x"
    assert images.digest(image.manifest) in engine_root.ok("images", "--digests")
    assert engine_root.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == "localhost/x:1\n"
    assert engine_root.ok("images", "x") == engine_root.ok("images")
    assert engine_root.ok("images", "-q", "other") == ""
    assert "can't evaluate field Nope" in engine_root.fails("images", "--format", "{{.Nope}}")


def test_a_saved_archive_is_the_same_every_time_and_loads_again(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    pair = {"x:1": images.busybox_image(), "y:1": Image([Layer().add("y").tar()], "zstd")}
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", pair))
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    engine_root.ok("save", "-m", "-o", first, "x:1", "y:1")
    with second.open("wb") as file:
        done = subprocess.run(engine_root.argv("save", "x:1", "y:1"), stdout=file, check=False)
    assert done.returncode == 0
    assert first.read_bytes() == second.read_bytes()
    engine_root.ok("rmi", "-a")
    engine_root.ok("load", "-i", first)
    assert {one["Id"] for one in engine_root.images()} == {one.id for one in pair.values()}


@pytest.mark.parametrize("form", ["oci-dir", "docker-dir"])
def test_a_saved_directory_loads_again(engine_root: EngineRoot, tmp_path: Path, form: str) -> None:
    image = images.busybox_image()
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x:1": image}))
    engine_root.ok("save", "-q", "--format", form, "-o", tmp_path / "saved", "x:1")
    kind = "oci-layout" if form == "oci-dir" else "manifest.json"
    assert (tmp_path / "saved" / kind).exists()
    engine_root.ok("rmi", "x:1")
    engine_root.ok("load", "-i", tmp_path / "saved")
    assert engine_root.images()[0]["Id"] == image.id
    assert "one image and a directory" in engine_root.fails("save", "--format", form, "x:1")
    assert "--compress can only be set" in engine_root.fails(
        "save", "--compress", "-o", tmp_path / "y", "x:1"
    )


def test_odd_names_are_kept_and_removed(engine_root: EngineRoot, tmp_path: Path) -> None:
    deep = "/".join(["d" * 100] * 300)
    names = [deep, "not\udcff\udcfeutf-8", "new\nline", "x" * 255, "-rf", "a b\t"]
    layer = Layer()
    for name in names:
        layer.add(name, b"data")
    image = Image([layer.tar()])
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x": image}))
    (top,) = (engine_root.root / "layers").iterdir()
    assert {os.fsencode(name) for name in os.listdir(top)} == {
        os.fsencode(name.partition("/")[0]) for name in names
    }
    too_long = Layer().add("y" * 256, b"").tar()
    path = images.oci_archive(tmp_path / "b.tar", {"y": Image([too_long])})
    assert "File name too long" in engine_root.fails("load", "-i", path)
    engine_root.ok("rmi", "x")
    assert engine_root.is_empty()


def test_a_short_name_finds_an_image_of_any_registry(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    image = images.busybox_image()
    archive = images.oci_archive(tmp_path / "a.tar", {"q.example.com/team/app:1": image})
    engine_root.ok("load", "-i", archive)
    for name in ("app:1", "team/app:1"):
        assert engine_root.ok("image", "exists", name) == ""
    for name in ("app", "eam/app:1", "pp:1", "other.example.com/team/app:1"):
        assert engine_root.call("image", "exists", name).returncode == 1
    assert engine_root.ok("rmi", "app:1").splitlines()[0] == "Untagged: q.example.com/team/app:1"


def test_a_failed_save_leaves_no_file(engine_root: EngineRoot, tmp_path: Path) -> None:
    target = tmp_path / "saved.tar"
    message = engine_root.fails("save", "-o", target, "nope")
    assert message == "Error: nope: image not known"
    assert not target.exists()
    assert "No such file" in engine_root.fails("save", "-o", tmp_path / "no/x.tar", "nope")
    pair = {"x:1": images.busybox_image(), "y:1": Image([Layer().add("y").tar()])}
    engine_root.ok("load", "-i", images.docker_archive(tmp_path / "a.tar", pair))
    message = engine_root.fails("save", "--format", "oci-archive", "-o", target, "x:1", "y:1")
    assert "an oci-archive holds one image" in message
    assert not target.exists()


def test_inspect_and_history_tell_about_an_image(engine_root: EngineRoot, tmp_path: Path) -> None:
    image = Image([images.busybox_layer(), Layer().add("more").tar()], Labels={"a": "b"})
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"x:1": image}))
    for command in (["image", "inspect"], ["inspect"]):
        (told,) = json.loads(engine_root.ok(*command, "x:1"))
        assert told["Id"] == image.id
        assert told["RepoTags"] == ["localhost/x:1"]
        assert told["Digest"] == images.digest(image.manifest)
        assert told["Config"]["Labels"] == told["Labels"] == {"a": "b"}
        assert told["RootFS"]["Layers"] == [images.digest(layer) for layer in image.layers]
    heading, *rows = engine_root.ok("history", "x:1").splitlines()
    assert heading.split() == ["ID", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert [row.split()[0] for row in rows] == [image.id[:12], "<missing>"]
    steps = json.loads(engine_root.ok("history", "--format", "json", "x:1"))
    assert [step["size"] for step in steps] == [len(layer) for layer in reversed(image.layers)]
    assert "image not known" in engine_root.fails("image", "inspect", "nope")
    assert "image not known" in engine_root.fails("history", "nope")
