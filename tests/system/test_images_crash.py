"""Whatever ends load, pull and rmi, the next command works and finds nothing orphaned."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import damage, images
from support.disks import tmpfs
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

SMALL_DISK_BYTES = 6 << 20


def some_layers() -> Image:
    base = images.busybox_layer()
    return Image([base, *(Layer().add(f"f{n}", os.urandom(300_000)).tar() for n in range(4))])


class Scenario:
    """A command that is killed again and again, and what must hold whenever that happens."""

    def __init__(
        self,
        root: EngineRoot,
        command: list[str],
        prepare: Callable[[], object],
        complete: Callable[[], bool],
    ) -> None:
        """``complete`` tells whether what is there is all of what the command makes, or nothing."""
        self.root, self.command = root, command
        self.prepare, self.complete = prepare, complete

    def duration_s(self) -> float:
        self.prepare()
        started = time.monotonic()
        subprocess.run(self.command, check=True, capture_output=True)
        return time.monotonic() - started

    def kill_after(self, delay_s: float) -> None:
        """The command ends by itself where the delay is too long."""
        self.prepare()
        process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(delay_s)  # the moment is random on purpose
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()

    def check(self) -> None:
        """The next command works, nothing is orphaned, and the healthy image is there."""
        assert self.root.ok("image", "exists", "kept") == ""
        assert self.root.orphans() == set()
        assert self.complete()


def load_scenario(root: EngineRoot, directory: Path, _: SmallRegistry) -> Scenario:
    image = some_layers()
    path = images.docker_archive(directory / "a.tar", {"x": image})
    return Scenario(
        root,
        root.argv("load", "-q", "-i", path),
        lambda: root.ok("rmi", "--ignore", "x"),
        lambda: len(root.files()) - KEPT_FILES in (0, 5 + 7),  # layers and blobs, or nothing
    )


def pull_scenario(root: EngineRoot, _: Path, registry: SmallRegistry) -> Scenario:
    image = some_layers()
    registry.add("1", image)
    rounds = itertools.count()

    def prepare() -> None:
        """Every other time it goes on with what the one before left."""
        root.ok("rmi", "--ignore", f"{registry.host}/x:1")
        if next(rounds) % 2:
            root.ok("image", "prune", "-f")

    return Scenario(
        root,
        root.argv("pull", "-q", f"{registry.host}/x:1"),
        prepare,
        lambda: all(path in root.files() for path in paths_of(root)),
    )


def rmi_scenario(root: EngineRoot, directory: Path, _: SmallRegistry) -> Scenario:
    path = images.docker_archive(directory / "a.tar", {"x": some_layers()})
    return Scenario(
        root,
        root.argv("rmi", "x"),
        lambda: root.ok("load", "-q", "-i", path),
        lambda: len(root.files()) - KEPT_FILES in (0, 5 + 7),
    )


def prune_scenario(root: EngineRoot, directory: Path, _: SmallRegistry) -> Scenario:
    path = images.docker_archive(directory / "a.tar", {"": some_layers()})
    return Scenario(
        root,
        root.argv("image", "prune", "-f"),
        lambda: root.ok("load", "-q", "-i", path),
        lambda: len(root.files()) - KEPT_FILES in (0, 5 + 7),
    )


def import_scenario(root: EngineRoot, directory: Path, _: SmallRegistry) -> Scenario:
    path = directory / "tree.tar"
    path.write_bytes(Layer().add("f", os.urandom(3_000_000)).tar())
    return Scenario(
        root,
        root.argv("import", "-q", path, "x"),
        lambda: root.ok("rmi", "--ignore", "x"),
        lambda: len(root.files()) - KEPT_FILES in (0, 1 + 3),
    )


def commit_scenario(root: EngineRoot, directory: Path, _: SmallRegistry) -> Scenario:
    base = images.docker_archive(directory / "b.tar", {"base": images.busybox_image()})
    root.ok("load", "-q", "-i", base)
    write = "cat /bin/busybox /bin/busybox >/big; echo new >/etc/passwd"
    root.ok("run", "--name", "changed", "--network", "none", "base", "sh", "-c", write)
    before = len(root.files())
    return Scenario(
        root,
        root.argv("commit", "-q", "changed", "x"),
        lambda: root.ok("rmi", "--ignore", "x"),
        lambda: len(root.files()) - before in (0, 1 + 3),
    )


SCENARIOS = {
    "commit": commit_scenario, "load": load_scenario, "pull": pull_scenario,
    "rmi": rmi_scenario, "prune": prune_scenario, "import": import_scenario,
}  # fmt: skip
KEPT_FILES = 1 + 3


def paths_of(root: EngineRoot) -> list[str]:
    """The files that the images' rows name."""
    blobs = root.rows("SELECT digest FROM image_blobs")
    layers = root.rows("SELECT diff_id FROM image_layers")
    return [*(f"blobs/sha256/{one[7:]}" for (one,) in blobs),
            *(f"layers/{one[7:]}" for (one,) in layers)]  # fmt: skip


def keep_one(root: EngineRoot, directory: Path) -> None:
    """A healthy image that must outlive everything; it shares no layer with the others."""
    kept = Image([Layer().add("etc/kept", b"kept" * 1000).tar()])
    root.ok("load", "-q", "-i", images.docker_archive(directory / "kept.tar", {"kept": kept}))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_moment_leaves_nothing_half_done(
    engine_root: EngineRoot,
    registry: SmallRegistry,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    name: str,
) -> None:
    keep_one(engine_root, tmp_path)
    scenario = SCENARIOS[name](engine_root, tmp_path, registry)
    longest_s = scenario.duration_s()
    chosen = random.Random(5)
    for _ in range(max(1, pytestconfig.getoption("--kills") // len(SCENARIOS))):
        scenario.kill_after(chosen.uniform(0.02, longest_s))
        scenario.check()
    assert damage.check(engine_root) == ({}, [], [])
    scenario.prepare()
    subprocess.run(scenario.command, check=True, capture_output=True)
    scenario.check()
    engine_root.ok("system", "check")
    engine_root.ok("rm", "--all")
    engine_root.ok("image", "prune", "-a", "-f")
    assert engine_root.is_empty()


@pytest.mark.timeout(1200)
def test_a_disk_that_is_full_at_any_point_is_told_and_costs_nothing(
    pyengine_path: str,
    registry: SmallRegistry,
    tmp_path: Path,
    small_disk: Path,
    pytestconfig: pytest.Config,
) -> None:
    root = EngineRoot(pyengine_path, small_disk)
    keep_one(root, tmp_path)
    image = Image([Layer().add(f"f{n}", os.urandom(400_000)).tar() for n in range(3)])
    registry.add("1", image)
    path = images.docker_archive(tmp_path / "a.tar", {"x": image})
    commands: list[list[str | Path]] = [
        ["load", "-q", "-i", path], ["pull", "-q", f"{registry.host}/x:1"],
        ["import", "-q", path, "x"],
    ]  # fmt: skip
    most = shutil.disk_usage(small_disk).free
    points = min(20, pytestconfig.getoption("--kills") // 5)
    failures = 0
    for point in range(points):
        filler = small_disk / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, most - most * point // points)
        done = root.call(*commands[point % len(commands)])
        if done.returncode:
            failures += 1
            assert done.returncode == 125
            assert done.stderr.count("Error: ") == 1
            assert "No space left on device" in done.stderr or "is full" in done.stderr
        root.ok("image", "exists", "kept")
        root.ok("rmi", "--ignore", "x", f"{registry.host}/x:1")
        filler.unlink()
        root.ok("image", "prune", "-f")
        assert root.orphans() == set()
        assert len(root.files()) == KEPT_FILES
    assert 0 < failures < points
    assert damage.check(root) == ({}, [], [])


@pytest.mark.timeout(300)
def test_a_killed_push_leaves_nothing_that_names_what_is_not_there(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": some_layers()})
    engine_root.ok("load", "-q", "-i", path)
    target = tmp_path / "layout"
    command = engine_root.argv("push", "-q", "x", f"oci:{target}:x")
    keep_one(engine_root, tmp_path)
    prepare = functools.partial(shutil.rmtree, target, ignore_errors=True)
    scenario = Scenario(engine_root, command, prepare, lambda: True)
    longest_s = scenario.duration_s()
    chosen = random.Random(5)
    for _ in range(5):
        scenario.kill_after(chosen.uniform(0.02, longest_s))
        scenario.check()
        if (target / "index.json").exists():
            engine_root.ok("skopeo", "copy", "-q", f"oci:{target}:x", f"dir:{tmp_path}/whole")


def check(engine_root: EngineRoot) -> None:
    engine_root.ok("images")
    assert engine_root.orphans() == set()


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
        assert waiting.wait(60)
        wait_for(lambda: engine_root.rows("SELECT 1 FROM layers"), "the other layer")
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=60)
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
    """A small tmpfs."""
    with tmpfs(tmp_path / "disk", str(SMALL_DISK_BYTES)) as directory:
        yield directory


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
