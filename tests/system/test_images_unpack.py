"""What is hard to unpack: attributes, holes, odd names, depth, numbers."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyengine.storage import packing
from support import images
from support.engine import EngineRoot
from support.images import Image, Layer

pytestmark = pytest.mark.needs("root", "busybox")

# cap_net_raw=ep (capabilities(7), VFS_CAP_REVISION_2), which is not UTF-8.
CAPABILITY = b"\1\0\0\2\0\x20\xff\0\0\0\0\0\0\0\0\0\0\0\0\0"
LATIN1 = os.fsdecode(b"caf\xe9")


def load(root: EngineRoot, directory: Path, *layers: bytes) -> list[Path]:
    """The directories of an image's layers."""
    path = images.docker_archive(directory / "a.tar", {"x": Image(list(layers))})
    root.ok("load", "-q", "-i", path)
    path.unlink()
    return [root.root / "layers" / images.digest(layer)[7:] for layer in layers]


def gnu_tar(directory: Path, *options: str) -> bytes:
    command = ["tar", "-C", str(directory), *options, "-cf", "-", "."]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_attributes_holes_and_odd_names_are_kept(engine_root: EngineRoot, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / LATIN1).mkdir(parents=True)
    (tree / LATIN1 / "new\nline\t\\ \x01").write_text("odd")
    with (tree / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(50_000_000)
        file.write(b"end")
    (tree / "ping").write_bytes(b"#!")
    os.chown(tree / "ping", 3_000_000, 5)
    (tree / "ping").chmod(0o6755)
    os.setxattr(tree / "ping", "security.capability", CAPABILITY)
    os.setxattr(tree / "ping", "user.binary", b"\0\xff=\n")
    os.utime(tree / "ping", ns=(0, 1_500_000_000_987_654_321))
    os.link(tree / "ping", tree / "same")
    xattrs = ("--xattrs", "--xattrs-include=*")
    forms = [
        gnu_tar(tree, "--sparse", "--format=posix", *xattrs),
        gnu_tar(tree, "--sparse", "--format=gnu"),
        b"".join(packing.pack_tree(str(tree), "test")),
    ]
    posix, gnu, ours = load(engine_root, tmp_path, *forms)
    for layer in (posix, gnu, ours):
        assert (layer / LATIN1 / "new\nline\t\\ \x01").read_text() == "odd"
        with (layer / "holes").open("rb") as file:
            assert file.read(5) == b"begin"
            assert file.read(1000) == bytes(1000)
            file.seek(50_000_000)
            assert file.read() == b"end"
        status = (layer / "ping").stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (3_000_000, 5, 0o6755)
        assert (layer / "same").stat().st_ino == status.st_ino
    for layer in (posix, gnu):
        assert (layer / "holes").stat().st_blocks * 512 < 1_000_000
    for layer in (posix, ours):
        assert os.getxattr(layer / "ping", "security.capability") == CAPABILITY
        assert os.getxattr(layer / "ping", "user.binary") == b"\0\xff=\n"
        assert (layer / "ping").stat().st_mtime_ns == 1_500_000_000_987_654_321
    again = b"".join(packing.pack_tree(str(ours), "test"))
    assert images.digest(again) == images.digest(forms[2])  # unpacked and packed: the same


def test_paths_may_be_deep_but_not_their_components_long(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    deep = "/".join(["d"] * 1500)
    (layer,) = load(engine_root, tmp_path, Layer().add(f"{deep}/f", b"x").tar())
    fd = os.open(layer, os.O_RDONLY)
    for _ in range(1500):
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    assert os.listdir(fd) == ["f"]
    os.close(fd)
    engine_root.ok("rmi", "x")
    assert engine_root.is_empty()
    long = Image([Layer().add("n" * 300, b"x").tar()])
    path = images.docker_archive(tmp_path / "a.tar", {"x": long})
    assert "File name too long" in engine_root.fails("load", "-i", path)
    assert engine_root.is_empty()


def many_members(count: int) -> Iterator[bytes]:
    """The tar of so many empty files, a thousand in each directory."""
    for number in range(count):
        name = f"d{number // 1000}/f{number}".encode().ljust(100, b"\0")
        header = bytearray(name + b"0000644\0" + b"0000000\0" * 2 + b"00000000000\0" * 2
                           + b" " * 8 + b"0").ljust(512, b"\0")  # fmt: skip
        header[257:265] = b"ustar\x0000"
        header[148:156] = b"%06o\0 " % sum(header)
        yield bytes(header)
    yield bytes(10240)


@pytest.mark.timeout(1800)
def test_a_layer_of_very_many_members_needs_little_memory(
    engine_root: EngineRoot, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    count = pytestconfig.getoption("--members")
    packer, packed, diff_id = zlib.compressobj(1, zlib.DEFLATED, 31), io.BytesIO(), hashlib.sha256()
    for piece in many_members(count):
        diff_id.update(piece)
        packed.write(packer.compress(piece))
    packed.write(packer.flush())
    layer = packed.getvalue()
    image = Image([b""])
    config = image.config.replace(
        images.digest(b"").encode(), b"sha256:" + diff_id.hexdigest().encode()
    )
    manifest = image.manifest.replace(
        images.digest(image.packed[0]).encode(), images.digest(layer).encode()
    )
    manifest = manifest.replace(b'"size":%d' % len(image.packed[0]), b'"size":%d' % len(layer))
    manifest = manifest.replace(
        images.digest(image.config).encode(), images.digest(config).encode()
    )
    entry = {"digest": images.digest(manifest), "size": len(manifest),
             "mediaType": "application/vnd.oci.image.manifest.v1+json"}  # fmt: skip
    files = {f"blobs/sha256/{images.digest(data)[7:]}": data for data in (layer, config, manifest)}
    index = images.encode({"schemaVersion": 2, "manifests": [entry]})
    path = images.write_tar(tmp_path / "a.tar", {**files, "index.json": index})
    script = 'ulimit -v 400000; exec "$@"'  # KiB, of each process
    command = ["sh", "-c", script, "sh", *engine_root.argv("load", "-q", "-i", path)]
    subprocess.run(command, check=True, capture_output=True)
    (unpacked,) = (engine_root.root / "layers").iterdir()
    assert sum(len(os.listdir(one)) for one in unpacked.iterdir()) == count
    engine_root.ok("rmi", "-a")
    assert engine_root.is_empty()
