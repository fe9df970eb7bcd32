"""Whatever ends load, pull and rmi, the next command works and finds nothing orphaned."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry

pytestmark = pytest.mark.needs("root", "busybox")

KILLS = 20


def some_layers() -> Image:
    base = images.busybox_layer()
    return Image([base, *(Layer().add(f"f{n}", os.urandom(300_000)).tar() for n in range(4))])


def duration_s(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started


def run_and_kill(command: list[str], after_s: float) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)  # the moment of the kill is random on purpose
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.wait()


def moments(longest_s: float, kills: int = KILLS) -> Iterator[float]:
    chosen = random.Random(5)
    for _ in range(kills):
        yield chosen.uniform(0.02, longest_s)


def check(engine_root: EngineRoot) -> None:
    engine_root.ok("images")
    assert engine_root.orphans() == set()


@pytest.mark.timeout(300)
def test_a_killed_load_is_rolled_back(engine_root: EngineRoot, tmp_path: Path) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": some_layers()})
    command = engine_root.argv("load", "-q", "-i", path)
    longest_s = duration_s(command)
    for after_s in moments(longest_s):
        engine_root.ok("rmi", "--ignore", "x")
        assert engine_root.is_empty()
        run_and_kill(command, after_s)
        check(engine_root)
        assert len(engine_root.files()) in (0, 11 + 1)  # five layers, seven blobs, or nothing
    engine_root.ok("load", "-i", path)
    engine_root.ok("rmi", "x")
    assert engine_root.is_empty()


@pytest.mark.timeout(300)
def test_a_killed_pull_keeps_only_complete_layers(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    registry.add("1", some_layers())
    command = engine_root.argv("pull", "-q", f"{registry.host}/x:1")
    longest_s = duration_s(command)
    for after_s in moments(longest_s):
        engine_root.ok("image", "prune", "-a", "-f")
        assert engine_root.is_empty()
        run_and_kill(command, after_s)
        check(engine_root)
    engine_root.ok("pull", f"{registry.host}/x:1")


@pytest.mark.timeout(300)
def test_a_killed_rmi_is_finished(engine_root: EngineRoot, tmp_path: Path) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": some_layers()})
    engine_root.ok("load", "-i", path)
    command = engine_root.argv("rmi", "x")
    longest_s = duration_s(command)
    for after_s in moments(longest_s):
        engine_root.ok("load", "-q", "-i", path)
        run_and_kill(command, after_s)
        check(engine_root)
        present = engine_root.call("image", "exists", "x").returncode == 0
        assert engine_root.is_empty() or present


@pytest.mark.timeout(300)
def test_a_killed_prune_is_finished(engine_root: EngineRoot, tmp_path: Path) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": some_layers()})
    kept = images.docker_archive(tmp_path / "b.tar", {"kept": images.busybox_image()})
    engine_root.ok("load", "-q", "-i", kept)
    engine_root.ok("load", "-q", "-i", path)
    engine_root.ok("untag", "x")
    command = engine_root.argv("image", "prune", "-f")
    longest_s = duration_s(command)
    for after_s in moments(longest_s, 6):
        engine_root.ok("load", "-q", "-i", path)
        engine_root.ok("untag", "x")
        run_and_kill(command, after_s)
        check(engine_root)
        assert len(engine_root.images()) in (1, 2)
        assert engine_root.ok("image", "exists", "kept") == ""
    engine_root.ok("image", "prune", "-f")
    assert [one["Names"] for one in engine_root.images()] == [["localhost/kept:latest"]]


@pytest.mark.timeout(300)
def test_a_killed_push_leaves_nothing_that_names_what_is_not_there(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": some_layers()})
    engine_root.ok("load", "-q", "-i", path)
    target = tmp_path / "layout"
    command = engine_root.argv("push", "-q", "x", f"oci:{target}:x")
    longest_s = duration_s(command)
    for after_s in moments(longest_s, 6):
        shutil.rmtree(target, ignore_errors=True)
        run_and_kill(command, after_s)
        check(engine_root)
        if (target / "index.json").exists():
            engine_root.ok("skopeo", "copy", "-q", f"oci:{target}:x", f"dir:{tmp_path}/whole")


def test_an_interrupted_pull_ends_at_once_and_keeps_complete_layers(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = Image([images.busybox_layer(), Layer().add("slow", os.urandom(100_000)).tar()])
    registry.add("1", image)
    slow, waiting, go_on = images.digest(image.packed[1]), threading.Event(), threading.Event()

    def stall(digest: str) -> None:
        if digest == slow:
            waiting.set()
            go_on.wait(60)

    registry.faults.before_blob = stall
    command = engine_root.argv("pull", f"{registry.host}/x:1")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert waiting.wait(30)
        while not engine_root.rows("SELECT 1 FROM layers"):  # the other layer is complete
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
    finally:
        process.kill()
        go_on.set()
    assert process.returncode == 130
    assert b"Traceback" not in messages
    assert engine_root.orphans() == set()
    assert engine_root.images() == []
    assert len(list((engine_root.root / "layers").iterdir())) == 1


def test_two_loads_of_one_archive_at_once_both_succeed(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": some_layers()})
    command = engine_root.argv("load", "-q", "-i", path)
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    check(engine_root)
    engine_root.ok("rmi", "x")
    assert engine_root.is_empty()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 6 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(directory)]
    subprocess.run(mount, check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_disk_fails_the_load_and_nothing_else(
    pyengine_path: str, tmp_path: Path, small_disk: Path
) -> None:
    engine_root = EngineRoot(pyengine_path, small_disk)
    small = images.docker_archive(tmp_path / "small.tar", {"small": some_layers()})
    large = Image([Layer().add("large", os.urandom(8_000_000)).tar()])
    path = images.docker_archive(tmp_path / "large.tar", {"large": large})
    message = engine_root.fails("load", "-i", path)
    assert f"layer {images.digest(large.layers[0])}: " in message
    assert "No space left on device" in message
    assert engine_root.is_empty()
    usage = shutil.disk_usage(small_disk)
    assert usage.used < 2_000_000
    engine_root.fails("load", "-i", small)  # twice its 3.2 MB: blobs and layers
    assert engine_root.is_empty()
    tiny = Image([Layer().add("tiny", b"x" * 100_000).tar()])
    engine_root.ok("load", "-i", images.docker_archive(tmp_path / "t.tar", {"tiny": tiny}))
    assert engine_root.ok("images", "-q") == f"{tiny.id[:12]}\n"
    assert engine_root.orphans() == set()


def test_containers_and_images_are_removed_on_a_full_disk(
    pyengine_path: str, tmp_path: Path, small_disk: Path
) -> None:
    engine_root = EngineRoot(pyengine_path, small_disk)
    tiny = Image([Layer().add("tiny", b"x" * 100_000).tar()])
    engine_root.ok("load", "-i", images.docker_archive(tmp_path / "t.tar", {"tiny": tiny}))
    container = engine_root.ok("create", "tiny", "/none").strip()
    with (small_disk / "others").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(small_disk).free == 0
    engine_root.ok("ps", "-a")
    engine_root.ok("rm", container)
    engine_root.ok("rmi", "tiny")
    assert engine_root.is_empty()
    (small_disk / "others").unlink()
    engine_root.ok("load", "-i", tmp_path / "t.tar")
    assert (engine_root.root / "pyengine.db.reserve").stat().st_size == 1 << 20


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_layer_that_expands_without_end_fails_at_the_disks_end(
    pyengine_path: str, tmp_path: Path, small_disk: Path, compression: str
) -> None:
    engine_root = EngineRoot(pyengine_path, small_disk)
    bomb = Image([Layer().add("zeros", bytes(400_000_000)).tar()], compression)
    assert len(bomb.packed[0]) < 2_000_000
    path = images.oci_archive(tmp_path / "a.tar", {"x": bomb})
    script = 'ulimit -v 300000; exec "$@"'  # KiB: less than the layer
    command = ["sh", "-c", script, "sh", *engine_root.argv("load", "-i", str(path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "member zeros: No space left on device" in done.stderr
    assert engine_root.is_empty()


def test_the_first_command_after_a_boot_removes_what_a_power_cut_left(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": some_layers()})
    engine_root.ok("load", "-i", path)
    (engine_root.root / "layers" / ("0" * 64) / "etc").mkdir(parents=True)
    (engine_root.root / "blobs/sha256" / ("1" * 64)).write_bytes(b"cut")
    (engine_root.root / "staging" / "99").mkdir()
    engine_root.ok("images")
    assert len(engine_root.orphans()) == 3  # looked for once per boot only
    connection = sqlite3.connect(engine_root.root / "pyengine.db")
    connection.execute("UPDATE facts SET value = 'an earlier boot' WHERE key = 'swept'")
    connection.commit()
    connection.close()
    check(engine_root)
    assert engine_root.ok("image", "exists", "x") == ""
