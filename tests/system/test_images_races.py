"""Commands on one store at once: each ends well or says what was taken from it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry

pytestmark = pytest.mark.needs("root", "busybox")


def big_layer(name: str) -> bytes:
    """More than a pipe holds."""
    return Layer().add(name, os.urandom(3 << 20)).tar()


def test_what_a_pull_counts_on_stays_while_others_pull_remove_prune_and_check(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    shared = images.busybox_layer()
    image = Image([shared, Layer().add("slow", os.urandom(100_000)).tar()])
    registry.add("1", image)
    registry.add("base", Image([shared]))
    slow, waiting, go_on = images.digest(image.packed[1]), threading.Event(), threading.Event()
    engine_root.ok("pull", "-q", f"{registry.host}/x:base")

    def stall(digest: str) -> None:
        if digest == slow and not waiting.is_set():
            waiting.set()
            go_on.wait(60)

    registry.faults.before_blob = stall
    command = engine_root.argv("pull", "-q", f"{registry.host}/x:1")
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert waiting.wait(60)
        engine_root.ok("rmi", f"{registry.host}/x:base")
        engine_root.ok("image", "prune", "-a", "-f")
        engine_root.ok("system", "check", "--max", "0s")
        assert len(list((engine_root.root / "layers").iterdir())) == 1
        assert engine_root.ok("pull", "-q", f"{registry.host}/x:1") == f"{image.id}\n"
        engine_root.ok("rmi", f"{registry.host}/x:1")
        go_on.set()
        assert (*first.communicate(timeout=60), first.returncode) == (f"{image.id}\n", "", 0)
    finally:
        go_on.set()
        first.kill()
        first.wait()
    engine_root.ok("system", "check")
    engine_root.ok("rmi", f"{registry.host}/x:1")
    assert engine_root.is_empty()


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_an_image_that_goes_while_it_is_saved_is_told(
    engine_root: EngineRoot, tmp_path: Path, form: str
) -> None:
    image = Image([big_layer("one"), big_layer("two")])
    engine_root.ok("load", "-q", "-i", images.oci_archive(tmp_path / "a.tar", {"x": image}))
    command = engine_root.argv("save", "-q", "--format", form, "x")
    saving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert saving.stdout is not None
        saving.stdout.read(100_000)  # it is within the first layer
        engine_root.ok("rmi", "x")
        _, messages = saving.communicate(timeout=60)
    finally:
        saving.kill()
        saving.wait()
    assert saving.returncode == 125
    assert b"removed meanwhile" in messages
    assert messages.count(b"Error: ") == 1
    assert engine_root.is_empty()


def test_pushes_into_one_layout_at_once_are_all_there(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    path = images.docker_archive(tmp_path / "a.tar", {"x": images.busybox_image()})
    engine_root.ok("load", "-q", "-i", path)
    names = [f"n{number}" for number in range(4)]
    pushing = [
        subprocess.Popen(engine_root.argv("push", "-q", "x", f"oci:{tmp_path}/layout:{name}"))
        for name in names
    ]
    assert [one.wait() for one in pushing] == [0] * len(names)
    index = json.loads((tmp_path / "layout/index.json").read_bytes())
    key = "org.opencontainers.image.ref.name"
    assert sorted(entry["annotations"][key] for entry in index["manifests"]) == names


def test_logins_at_once_are_all_kept(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path
) -> None:
    registry.faults.credentials = ("me", "secret")
    file = tmp_path / "deep/auth.json"
    keys = [f"{registry.host}/r{number}" for number in range(4)]
    words: list[str | Path] = ["login", "--authfile", file, "-u", "me", "-p", "secret"]
    ending = [
        subprocess.Popen(engine_root.argv(*words, key), stdout=subprocess.DEVNULL) for key in keys
    ]
    assert [one.wait() for one in ending] == [0] * len(keys)
    pair = base64.b64encode(b"me:secret").decode()
    assert json.loads(file.read_bytes())["auths"] == {key: {"auth": pair} for key in keys}
    assert [one.name for one in file.parent.iterdir()] == ["auth.json"]
