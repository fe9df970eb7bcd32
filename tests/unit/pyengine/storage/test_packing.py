from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from pyengine.errors import StorageError
from pyengine.storage import packing
from support import machine

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def pack(path: Path, skip: frozenset[str] = frozenset()) -> bytes:
    return b"".join(packing.pack_tree(str(path), "test", skip=skip))


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        return {member.name: member for member in archive}


def make_tree(top: Path, order: int) -> Path:
    """The same tree, its entries made in one order or the other."""
    top.mkdir()
    for name in ["a", "b", "dir", NOT_UTF8, "x" * 200][::order]:
        path = top / name
        if name == "dir":
            path.mkdir(0o750)
            (path / "inside").write_text("inside")
        else:
            path.write_bytes(name.encode(errors="surrogateescape") * 1000)
    os.symlink("a", top / "link")
    os.link(top / "b", top / "dir/same")
    os.mkfifo(top / "fifo")
    with (top / "sparse").open("wb") as file:
        file.truncate(100_000)
    for path in [*top.rglob("*"), top]:
        os.utime(path, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)
    return top


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (make_tree(tmp_path / name, order) for name, order in (("1", 1), ("2", -1)))
    os.utime(other / "a", (5, 1_600_000_000), follow_symlinks=False)
    os.utime(other / "a", ns=(7, 1_600_000_000_123_456_789))  # when it was read does not count
    assert pack(one) == pack(other)
    assert len(pack(one)) % 10240 == 0
    (other / "a").write_text("changed")
    assert pack(one) != pack(other)


def test_a_tree_is_packed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path / "tree", 1)
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tree)  # a socket's path must be short
        server.bind("socket")
    found = members(pack(tree))
    assert list(found) == [
        "a", "b", NOT_UTF8, "fifo", "link", "sparse", "x" * 200, "dir",
        "dir/inside", "dir/same",
    ]  # fmt: skip
    assert found["dir"].mode == 0o750
    assert (found["dir/same"].islnk(), found["dir/same"].linkname) == (True, "b")
    assert (found["link"].issym(), found["link"].linkname) == (True, "a")
    assert found["fifo"].isfifo()
    assert found["sparse"].size == 100_000
    assert found["a"].pax_headers["mtime"] == "1600000000.123456789"
    assert (found["a"].uid, found["a"].uname) == (os.getuid(), "")


def test_what_is_skipped_is_left_out_with_what_it_holds(tmp_path: Path) -> None:
    found = members(pack(make_tree(tmp_path / "tree", 1), frozenset({"dir", "a"})))
    assert {"a", "dir", "dir/inside", "dir/same"}.isdisjoint(found)
    assert found["b"].isreg()


def test_a_deep_tree_needs_no_descriptors(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(600):  # longer than PATH_MAX
        os.mkdir("directory", dir_fd=fd)
        below = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert len(members(pack(top))) == 600


def test_an_unreadable_tree_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"test: pack /.*/nothing: No such file or directory"):
        pack(tmp_path / "nothing")


@pytest.mark.skipif(bool(machine.missing("root")), reason="only root makes whiteouts")
def test_overlays_marks_become_those_of_a_layer(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "opaque/below").mkdir(parents=True)
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "opaque", "trusted.overlay.origin", b"x")
    os.mknod(upper / "opaque/gone", 0o20000, 0)
    (upper / "ping").write_bytes(b"x")
    capability = b"\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    os.setxattr(upper / "ping", "security.capability", capability)
    os.setxattr(upper / "ping", "user.note", b"\xff\n=")
    found = members(pack(upper))
    assert list(found) == [
        "ping", "opaque", "opaque/.wh..wh..opq", "opaque/.wh.gone", "opaque/below"
    ]  # fmt: skip
    attributes = {
        name.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
        for name, value in found["ping"].pax_headers.items()
    }
    assert attributes["security.capability"] == capability
    assert attributes["user.note"] == b"\xff\n="
    assert not [name for name in found["opaque"].pax_headers if "overlay" in name]
