"""image tree, diff, mount, unmount, and import."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def pair(engine_root: EngineRoot, tmp_path: Path) -> dict[str, Image]:
    """base:1, and top:2 with a layer more that adds, changes and removes."""
    base = images.busybox_layer()
    second = Layer().add("etc/.wh.group").add("etc/passwd", b"root:x:0:0::/:/bin/sh\n")
    both = {"localhost/base:1": Image([base]),
            "localhost/top:2": Image([base, second.add("new/f", b"x").tar()])}  # fmt: skip
    engine_root.ok("load", "-i", images.docker_archive(tmp_path / "a.tar", both))
    return both


def test_a_tree_names_the_images_that_end_with_each_layer(
    engine_root: EngineRoot, pair: dict[str, Image]
) -> None:
    lines = engine_root.ok("image", "tree", "top:2").splitlines()
    assert lines[0] == f"Image ID: {pair['localhost/top:2'].id[:12]}"
    assert lines[1] == "Tags:     [localhost/top:2]"
    assert lines[3] == "Image Layers"
    assert lines[4].startswith("├── ID: ")
    assert lines[4].endswith(" Top Layer of: [localhost/base:1]")
    assert lines[5].startswith("└── ID: ")
    assert lines[5].endswith("Size: 10.24kB Top Layer of: [localhost/top:2]")
    above = engine_root.ok("image", "tree", "--whatrequires", "base:1").splitlines()
    assert above[4].startswith("└── ID: ")
    assert above[5].startswith("    └── ID: ")
    assert "image not known" in engine_root.fails("image", "tree", "nope")


def test_diff_tells_what_the_top_layer_changed(
    engine_root: EngineRoot, pair: dict[str, Image]
) -> None:
    assert pair
    lines = ["A /new", "A /new/f", "C /etc", "C /etc/passwd", "D /etc/group"]
    assert engine_root.ok("image", "diff", "top:2").splitlines() == lines
    assert engine_root.ok("image", "diff", "top:2", "base:1").splitlines() == lines
    turned = ["A /etc/group", "C /etc", "C /etc/passwd", "D /new"]
    assert engine_root.ok("image", "diff", "base:1", "top:2").splitlines() == turned
    assert json.loads(engine_root.ok("image", "diff", "--format", "json", "top:2")) == {
        "changed": ["/etc", "/etc/passwd"], "added": ["/new", "/new/f"], "deleted": ["/etc/group"],
    }  # fmt: skip
    assert engine_root.ok("image", "diff", "top:2", "top:2") == ""
    assert "image not known" in engine_root.fails("image", "diff", "nope")


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_a_mounted_image_is_seen_and_kept(pyengine_path: str, tmp_path: Path, driver: str) -> None:
    engine_root = EngineRoot(pyengine_path, tmp_path / driver)
    second = Layer().add("etc/.wh.group").add("etc/more", b"more").tar()
    image = Image([images.busybox_layer(), second])
    (tmp_path / driver).mkdir()
    option = ["--storage-driver", driver]
    archive = images.oci_archive(tmp_path / "a.tar", {"localhost/x:1": image})
    engine_root.ok(*option, "load", "-i", archive)
    try:
        path = Path(engine_root.ok(*option, "image", "mount", "x:1").strip())
        assert (path / "etc/more").read_text() == "more"
        assert not (path / "etc/group").exists()
        assert engine_root.ok(*option, "image", "mount", "x:1").strip() == str(path)
        assert engine_root.ok(*option, "image", "mount").split() == ["localhost/x:1", str(path)]
        (listed,) = json.loads(engine_root.ok(*option, "image", "mount", "--format", "json"))
        assert (listed["id"], listed["mountpoint"]) == (image.id, str(path))
        if driver == "overlay":
            with pytest.raises(OSError, match="Read-only"):
                (path / "new").touch()
        assert "is mounted: unmount it" in engine_root.fails(*option, "rmi", "x:1", status=2)
        engine_root.ok(*option, "image", "prune", "-a", "-f")
        assert (path / "etc/more").exists()
        assert engine_root.ok(*option, "image", "unmount", "x:1").strip() == image.id
        assert not path.exists()
        assert "is not mounted" in engine_root.fails(*option, "image", "unmount", "x:1")
        assert engine_root.ok(*option, "image", "mount") == ""
        engine_root.ok(*option, "image", "mount", "--all")
        engine_root.ok(*option, "rmi", "-f", "x:1")
        assert not path.exists()
        assert engine_root.is_empty()
    finally:
        engine_root.call(*option, "image", "unmount", "--all")


@pytest.mark.parametrize("how", ["file", "stdin", "gzip", "url"])
def test_an_archive_is_imported(engine_root: EngineRoot, tmp_path: Path, how: str) -> None:
    tar = images.busybox_layer()
    archive = tmp_path / "root.tar"
    archive.write_bytes(gzip.compress(tar, 1) if how == "gzip" else tar)
    changes = ["-c", 'CMD ["sh", "-c", "echo $WHO"]', "--change", "ENV WHO=me", "-c", "USER user",
               "-m", "by hand"]  # fmt: skip
    if how == "url":
        with serving(tmp_path) as address:
            out = engine_root.ok("import", *changes, f"{address}/root.tar", "imported:1")
            missing = engine_root.fails("import", f"{address}/none.tar")
            assert f"import {address}/none.tar: HTTP status 404" in missing
    elif how == "stdin":
        out = engine_root.ok("import", *changes, "-", "imported:1", stdin=archive.read_bytes())
    else:
        out = engine_root.ok("import", *changes, archive, "imported:1")
    (listed,) = engine_root.images()
    assert out == f"sha256:{listed['Id']}\n"
    assert listed["Names"] == ["localhost/imported:1"]
    form = "{{.Config.Cmd}} {{.Config.Env}} {{.Config.User}} {{.Comment}} {{.Os}}"
    shown = engine_root.ok("image", "inspect", "--format", form, "imported:1")
    assert shown == "[sh -c echo $WHO] [WHO=me] user by hand linux\n"
    layers = json.loads(engine_root.ok("image", "inspect", "imported:1"))[0]["RootFS"]["Layers"]
    assert layers == [images.digest(tar)]
    assert engine_root.orphans() == set()


class serving:  # noqa: N801 - used like a function
    """Files of a directory by HTTP."""

    def __init__(self, directory: Path) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, directory=os.fspath(directory), **kwargs)  # type: ignore[arg-type]  # passed on

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-c", "FROM x"], "not an instruction"),
        (["-c", "CMD"], "not an instruction"),
        (["-c", "EXPOSE 99999"], "not a port"),
        (["-c", "EXPOSE 1/icmp"], "not tcp"),
        (["-c", "ENV x=1 y"], "not KEY=VALUE"),
        (["-c", "CMD [1]"], "not a list of strings"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    engine_root: EngineRoot, tmp_path: Path, words: list[str], problem: str
) -> None:
    (tmp_path / "a.tar").write_bytes(Layer().add("f").tar())
    assert problem in engine_root.fails("import", *words, tmp_path / "a.tar")
    assert engine_root.is_empty()


def test_what_is_no_archive_is_not_imported(engine_root: EngineRoot, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    assert "no tar archive" in engine_root.fails("import", tmp_path / "junk")
    (tmp_path / "junk").write_bytes(b"")
    assert "the archive is empty" in engine_root.fails("import", tmp_path / "junk")
    assert "No such file" in engine_root.fails("import", tmp_path / "missing")
    assert "repository names are in lower case" in engine_root.fails(
        "import", tmp_path / "junk", "X"
    )
    assert engine_root.is_empty()


@pytest.mark.needs("podman")
def test_podman_tells_the_same_of_trees_and_differences(
    engine_root: EngineRoot, pair: dict[str, Image], tmp_path: Path
) -> None:
    assert len(pair) == 2
    with tempfile.TemporaryDirectory() as runroot:  # podman wants a short path
        podman = ["podman", "--root", str(tmp_path / "p"), "--runroot", runroot, "--log-level",
                  "error", "--storage-driver", "vfs"]  # fmt: skip
        load = [*podman, "load", "-q", "-i", str(tmp_path / "a.tar")]
        subprocess.run(load, check=True, capture_output=True)
        for words in (["image", "tree", "top:2"], ["image", "diff", "top:2"],
                      ["image", "diff", "--format", "json", "top:2"]):  # fmt: skip
            done = subprocess.run([*podman, *words], check=True, capture_output=True, text=True)
            # ids of layers are podman's own where it compresses anew
            mine = engine_root.ok(*words)
            assert without_ids(mine) == without_ids(done.stdout)
        subprocess.run([*podman, "rmi", "-f", "-a"], check=True, capture_output=True)


def without_ids(text: str) -> list[str]:
    """Nor the size of the whole, to which podman adds records of its own."""
    return sorted(re.sub(r"ID: \w{12}|(?m:^Size: .*)", "", text).split())
