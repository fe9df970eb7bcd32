"""Places that images are written to and read from, when they are full or not the caller's."""

from __future__ import annotations

import lzma
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from support import images
from support.disks import tmpfs
from support.engine import EngineRoot
from support.images import Image, Layer
from support.rootless import USER, ordinary_home, require_open

pytestmark = pytest.mark.needs("root", "busybox")

FULL = "No space left on device"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 6 MiB."""
    with tmpfs(tmp_path / "disk", "6m") as directory:
        yield directory


def one_error(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_an_output_that_does_not_fit_is_told_and_not_left(
    engine_root: EngineRoot, tmp_path: Path, disk: Path
) -> None:
    image = Image([Layer().add("large", os.urandom(7_000_000)).tar()])
    engine_root.ok("load", "-q", "-i", images.oci_archive(tmp_path / "a.tar", {"x": image}))
    out = disk / "out"
    for words in (
        ["save", "-q", "-o", out, "x"],
        ["save", "-q", "--format", "oci-archive", "-o", out, "x"],
        ["save", "-q", "--format", "oci-dir", "-o", out, "x"],
        ["save", "-q", "--format", "docker-dir", "-o", out, "x"],
        ["push", "-q", "x", f"oci-archive:{out}:x"],
        ["push", "-q", "x", f"docker-archive:{out}:x:1"],
    ):
        one_error(engine_root.call(*words), 125, FULL, str(disk))
        assert not any((out / name).exists() for name in ("index.json", "manifest.json", "version"))
        assert not out.is_file()
        subprocess.run(["rm", "-rf", out], check=True)
        assert os.listdir(disk) == []
    words = ["skopeo", "copy", "-q", f"oci-archive:{tmp_path}/a.tar", f"dir:{out}"]
    one_error(engine_root.call(*words), 1, FULL, str(out))
    assert not (out / "manifest.json").exists()


def test_a_commit_that_does_not_fit_leaves_container_and_store_as_they_were(
    pyengine_path: str, tmp_path: Path, disk: Path
) -> None:
    root = EngineRoot(pyengine_path, disk)
    tiny = Image([Layer().add("tiny", b"x").tar()])
    root.ok("load", "-q", "-i", images.docker_archive(tmp_path / "a.tar", {"tiny": tiny}))
    container = root.ok("create", "tiny", "/none").strip()
    (tmp_path / "large").write_bytes(os.urandom(2_500_000))
    root.ok("cp", tmp_path / "large", f"{container}:/large")
    before = root.files()
    one_error(root.call("commit", "-q", container, "made"), 125, FULL)
    assert root.files() == before
    assert root.ok("images", "-q") == f"{tiny.id[:12]}\n"
    assert root.ok("diff", container) == "A /large\n"
    root.ok("rm", container)
    root.ok("rmi", "tiny")
    assert root.is_empty()


@pytest.mark.parametrize(
    "pack",
    [lambda data: lzma.compress(data, preset=0), zstandard.ZstdCompressor(1).compress],
    ids=["xz", "zstd"],
)
def test_an_archive_that_expands_without_end_fails_at_the_disks_end(
    pyengine_path: str, tmp_path: Path, disk: Path, pack: Callable[[bytes], bytes]
) -> None:
    root = EngineRoot(pyengine_path, disk)
    (tmp_path / "bomb").write_bytes(pack(bytes(100_000_000)))
    assert (tmp_path / "bomb").stat().st_size < 100_000
    for words in (["load", "-q", "-i"], ["import", "-q"]):
        one_error(root.call(*words, tmp_path / "bomb"), 125, FULL)
        assert root.is_empty()


def test_what_is_not_the_callers_is_named(pyengine_path: str) -> None:
    program = require_open(pyengine_path)
    image = images.busybox_image()
    with ordinary_home() as home:
        archive = images.oci_archive(home / "a.tar", {"x": image})
        secret = images.oci_archive(home / "secret.tar", {"x": image})
        secret.chmod(0o600)
        closed = home / "closed"
        closed.mkdir(0o755)

        def copy(source: str, destination: str) -> subprocess.CompletedProcess[str]:
            command = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups",
                       program, "skopeo", "copy", "-q", source, destination]  # fmt: skip
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=60, cwd="/",
                env={"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(home)},
            )  # fmt: skip

        denied = "Permission denied"
        one_error(copy(f"oci-archive:{secret}", f"dir:{home}/d"), 1, str(secret), denied)
        assert not (home / "d").exists()
        for place in ("dir:{}/d", "oci:{}/d:x", "oci-archive:{}/d", "docker-archive:{}/d:x:1"):
            target = place.format(closed)
            one_error(copy(f"oci-archive:{archive}", target), 1, str(closed), denied)
            assert os.listdir(closed) == []
        assert copy(f"oci-archive:{archive}", f"dir:{home}/fine").returncode == 0
