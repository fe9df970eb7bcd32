"""pull from registries on loopback, good ones and bad ones."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry, debian_registry, free_port

pytestmark = pytest.mark.needs("root", "busybox")


def two_layers() -> Image:
    return Image([images.busybox_layer(), Layer().add("etc/more", b"more" * 100_000).tar()])


@pytest.mark.needs("docker-registry", "skopeo")
def test_an_image_comes_from_debians_registry(engine_root: EngineRoot, tmp_path: Path) -> None:
    image = two_layers()
    archive = images.oci_archive(tmp_path / "a.tar", {"x": image})
    with debian_registry(tmp_path) as host:
        copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}"]
        subprocess.run([*copy, f"docker://{host}/some/thing:1"], check=True, capture_output=True)
        done = engine_root.call("pull", f"{host}/some/thing:1")
        assert done.stdout == f"{image.id}\n", done.stderr
        assert done.stderr.splitlines()[0] == f"Trying to pull {host}/some/thing:1..."
        missing = engine_root.fails("pull", f"{host}/some/thing:2")
        assert "manifest unknown" in missing
    (listed,) = engine_root.images()
    assert listed["Names"] == [f"{host}/some/thing:1"]
    assert listed["RepoDigests"] == [f"{host}/some/thing@{images.digest(image.manifest)}"]
    assert engine_root.ok("image", "exists", listed["RepoDigests"][0]) == ""
    assert engine_root.orphans() == set()


def test_a_second_pull_fetches_no_layer(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    image = two_layers()
    registry.add("1", image)
    engine_root.ok("pull", f"{registry.host}/x:1")
    registry.faults.requests.clear()
    assert engine_root.ok("pull", "-q", f"{registry.host}/x:1") == f"{image.id}\n"
    layers = {images.digest(data) for data in image.packed}
    assert not [line for line in registry.faults.requests if line.rpartition("/")[2] in layers]


def test_an_index_gives_the_image_of_this_platform(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image, other = two_layers(), Image([Layer().add("other").tar()])
    registry.add("a", image)
    registry.add("b", other)
    entries = [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(one.manifest),
         "digest": images.digest(one.manifest), "platform": {"os": "linux", "architecture": name}}
        for one, name in ((other, "pdp11"), (image, images.ARCHITECTURE))
    ]  # fmt: skip
    media_type = "application/vnd.oci.image.index.v1+json"
    index = images.encode({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})
    registry.contents["multi"] = (index, media_type)
    assert engine_root.ok("pull", f"{registry.host}/x:multi").strip() == image.id
    chosen = engine_root.ok("pull", "--platform", "linux/pdp11", f"{registry.host}/x:multi")
    assert chosen.strip() == other.id
    message = engine_root.fails("pull", "--arch", "vax", f"{registry.host}/x:multi")
    assert f"no image for linux/vax; it has linux/pdp11, linux/{images.ARCHITECTURE}" in message


def test_an_image_is_pulled_by_digest(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    image = two_layers()
    registry.add("1", image)
    name = f"{registry.host}/x@{images.digest(image.manifest)}"
    assert engine_root.ok("pull", name).strip() == image.id
    assert engine_root.ok("image", "exists", name) == ""
    assert engine_root.images()[0]["Names"] == []


@pytest.mark.parametrize("bearer", [False, True])
def test_credentials_are_given_when_asked_for(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path, bearer: bool
) -> None:
    registry.add("1", two_layers())
    registry.faults.bearer = bearer
    registry.faults.credentials = ("me", "secret")
    engine_root.ok("pull", "--creds", "me:secret", f"{registry.host}/x:1")
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {registry.host: {"auth": "bWU6c2VjcmV0"}}}))
    engine_root.ok("pull", "--authfile", auth, f"{registry.host}/x:1")


def test_a_refused_pull_says_so_and_leaves_nothing(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    registry.faults.credentials = ("me", "secret")
    name = f"{registry.host}/x:1"
    message = engine_root.fails("pull", name)
    assert message.startswith(f"Error: initializing source docker://{name}: reading manifest 1 in ")
    assert "unauthorized: authentication required" in message
    assert "unauthorized" in engine_root.fails("pull", "--creds", "me:wrong", name)
    assert engine_root.is_empty()


def test_an_unknown_image_is_named(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    message = engine_root.fails("pull", f"{registry.host}/x:nope")
    assert f"reading manifest nope in {registry.host}/x: manifest unknown" in message
    assert engine_root.is_empty()


def test_a_registry_that_is_down_is_named(engine_root: EngineRoot) -> None:
    host = f"127.0.0.1:{free_port()}"
    message = engine_root.fails("pull", f"{host}/x:1")
    assert f"pinging container registry {host}: " in message
    assert "Connection refused" in message
    assert engine_root.is_empty()


def test_plain_http_is_refused_where_tls_is_wanted(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    registry.add("1", two_layers())
    message = engine_root.fails("pull", "--tls-verify", f"{registry.host}/x:1")
    assert "pinging container registry" in message
    engine_root.ok("pull", "--tls-verify=false", f"{registry.host}/x:1")


def test_a_name_that_is_none_is_refused(engine_root: EngineRoot) -> None:
    assert "repository names are in lower case" in engine_root.fails("pull", "127.0.0.1:1/X")
    assert "invalid reference format" in engine_root.fails("pull", "a b")


@pytest.mark.parametrize("which", ["layer", "config", "manifest"])
def test_other_bytes_than_the_digest_says_are_refused(
    engine_root: EngineRoot, registry: SmallRegistry, which: str
) -> None:
    image = two_layers()
    registry.add("1", image)
    data = {"layer": image.packed[1], "config": image.config, "manifest": image.manifest}[which]
    digest = images.digest(data)
    registry.faults.replace[digest] = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    name = f"x@{digest}" if which == "manifest" else "x:1"
    message = engine_root.fails("pull", f"{registry.host}/{name}")
    assert digest in message
    assert "the digest of what came is sha256:" in message
    assert engine_root.is_empty()


def test_a_blob_that_is_longer_than_its_size_is_refused(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = two_layers()
    registry.add("1", image)
    digest = images.digest(image.packed[1])
    registry.faults.replace[digest] = image.packed[1] + b"more"
    message = engine_root.fails("pull", f"{registry.host}/x:1")
    assert f"longer than the {len(image.packed[1])} bytes it should have" in message
    assert engine_root.is_empty()


def test_a_broken_transfer_is_resumed_where_it_ended(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = two_layers()
    registry.add("1", image)
    digest = images.digest(image.packed[0])
    registry.faults.cut_after[digest] = 300_000
    engine_root.ok("pull", f"{registry.host}/x:1")
    blob = f"/v2/x/blobs/{digest}"
    requests = [line for line in registry.faults.requests if line.startswith(blob)]
    assert requests == [blob, f"{blob} bytes=300000-"]
    assert engine_root.orphans() == set()


def test_complete_layers_of_a_pull_that_broke_off_serve_the_next_one(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = two_layers()
    registry.add("1", image)
    digest = images.digest(image.packed[0])
    registry.faults.cut_after[digest] = 1000
    registry.faults.accept_ranges = False
    message = engine_root.fails("pull", f"{registry.host}/x:1")
    assert f"reading blob {digest} in {registry.host}/x: broke off after 1000 of " in message
    assert engine_root.images() == []
    assert engine_root.orphans() == set()
    registry.faults.cut_after.clear()
    registry.faults.requests.clear()
    engine_root.ok("pull", f"{registry.host}/x:1")
    fetched = {line.rpartition("/")[2] for line in registry.faults.requests}
    assert f"{digest} bytes=1000-" in fetched
    assert engine_root.orphans() == set()


def test_prune_removes_what_broken_pulls_left(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = two_layers()
    registry.add("1", image)
    registry.faults.status[images.digest(image.packed[0])] = 500
    assert "HTTP status 500" in engine_root.fails("pull", f"{registry.host}/x:1")
    engine_root.ok("image", "prune", "-f")
    assert engine_root.is_empty()


def partials(root: EngineRoot) -> dict[str, int]:
    """Bytes that wait for the next pull, by digest."""
    directory = root.root / "partial"
    files = directory.iterdir() if directory.exists() else ()
    return {f"sha256:{path.name}": path.stat().st_size for path in files}


def cut_pull(engine_root: EngineRoot, registry: SmallRegistry, image: Image) -> str:
    """Pull until the first layer breaks off for good after 300,000 bytes; its digest."""
    registry.add("1", image)
    digest = images.digest(image.packed[0])
    registry.faults.cut_after[digest] = 300_000
    registry.faults.accept_ranges = False
    message = engine_root.fails("pull", f"{registry.host}/x:1")
    assert "broke off after 300000 of " in message
    assert partials(engine_root) == {digest: 300_000}
    assert engine_root.orphans() == set()
    registry.faults.cut_after.clear()
    registry.faults.requests.clear()
    return digest


@pytest.mark.parametrize("ranges", [True, False])
def test_the_next_pull_goes_on_within_a_layer(
    engine_root: EngineRoot, registry: SmallRegistry, ranges: bool
) -> None:
    digest = cut_pull(engine_root, registry, images.busybox_image())
    registry.faults.accept_ranges = ranges
    engine_root.ok("pull", f"{registry.host}/x:1")
    blobs = [line for line in registry.faults.requests if digest in line]
    assert blobs == [f"/v2/x/blobs/{digest} bytes=300000-"]
    assert partials(engine_root) == {}
    assert engine_root.orphans() == set()
    assert engine_root.blob(digest) == images.busybox_image().packed[0]


def test_a_beginning_that_was_damaged_is_fetched_again(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    digest = cut_pull(engine_root, registry, images.busybox_image())
    registry.faults.accept_ranges = True
    path = engine_root.root / "partial" / digest[7:]
    path.write_bytes(bytes(300_000))  # as a power cut may leave it
    done = engine_root.call("pull", f"{registry.host}/x:1")
    assert done.returncode == 0, done.stderr
    assert "fetching it again from its beginning" in done.stderr
    assert f"/v2/x/blobs/{digest}" in registry.faults.requests
    assert engine_root.blob(digest) == images.busybox_image().packed[0]
    assert engine_root.orphans() == set()


def test_beginnings_of_blobs_do_not_stay_for_ever(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    digest = cut_pull(engine_root, registry, images.busybox_image())
    registry.add("2", Image([Layer().add("other").tar()]))
    engine_root.ok("pull", f"{registry.host}/x:2")
    assert partials(engine_root) == {digest: 300_000}
    os.utime(engine_root.root / "partial" / digest[7:], (0, time.time() - 8 * 86_400))
    engine_root.ok("pull", f"{registry.host}/x:2")
    assert partials(engine_root) == {}
    cut_pull(engine_root, registry, images.busybox_image())
    engine_root.ok("image", "prune", "-a", "-f")
    assert partials(engine_root) == {}
    assert engine_root.is_empty()


def test_a_terminal_shows_bars_and_a_pipe_plain_lines(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = two_layers()
    registry.add("1", image)
    command = engine_root.argv("pull", f"{registry.host}/x:1")
    plain = subprocess.run(command, capture_output=True, text=True, check=True)
    assert plain.stdout == f"{image.id}\n"
    assert plain.stderr.splitlines() == [
        f"Trying to pull {registry.host}/x:1...",
        "Getting image source signatures",
        *(f"Copying blob {images.digest(layer)}" for layer in image.packed),
        f"Copying config {images.digest(image.config)}",
        "Writing manifest to image destination",
    ]
    engine_root.ok("rmi", f"{registry.host}/x:1")
    master, slave = os.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        assert process.stdout is not None
        assert process.stdout.read() == f"{image.id}\n".encode()
    shown = b""
    with contextlib.suppress(OSError):  # EIO is the end
        while piece := os.read(master, 4096):
            shown += piece
    os.close(master)
    for layer in image.packed:
        assert f"Copying blob {images.digest(layer)[7:19]} done".encode() in shown
    assert b"\033[2A\033[J" in shown
    quiet = engine_root.call("pull", "-q", f"{registry.host}/x:1")
    assert (quiet.stdout, quiet.stderr) == (f"{image.id}\n", "")
