"""Registries that are slow, wrong, endless or elsewhere; and what registries.conf makes of them."""

from __future__ import annotations

import email.utils
import os
import time
from pathlib import Path

import pexpect
import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry, free_port, small_registry

pytestmark = pytest.mark.needs("root", "busybox")


def two_layers() -> Image:
    return Image([images.busybox_layer(), Layer().add("etc/more", b"more" * 100_000).tar()])


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """registries.conf for the commands of a test."""
    path = tmp_path / "registries.conf"
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    return path


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_registry_is_asked_again_when_it_says(
    engine_root: EngineRoot, registry: SmallRegistry, status: int
) -> None:
    image = two_layers()
    registry.add("1", image)
    registry.faults.busy = {images.digest(image.packed[0]): 1}
    registry.faults.busy_status = status
    started = time.monotonic()
    engine_root.ok("pull", f"{registry.host}/x:1")
    assert time.monotonic() - started > 1  # Retry-After: 1
    assert engine_root.orphans() == set()


def test_a_busy_registry_may_name_a_time(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    image = two_layers()
    registry.add("1", image)
    registry.faults.busy["1"] = 1
    registry.faults.busy_status = 503
    named = int(time.time()) + 2
    registry.faults.retry_after = email.utils.formatdate(named, usegmt=True)
    assert engine_root.ok("pull", "-q", f"{registry.host}/x:1").strip() == image.id
    assert time.time() >= named
    registry.faults.busy["1"] = 1
    registry.faults.retry_after = "whenever"
    engine_root.ok("pull", "-q", f"{registry.host}/x:1")


def test_a_registry_that_stays_busy_is_given_up(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    registry.add("1", two_layers())
    registry.faults.busy = {"1": 1000}
    registry.faults.retry_after = "0"
    message = engine_root.fails("pull", f"{registry.host}/x:1")
    assert "too many requests (HTTP status 429)" in message
    assert engine_root.is_empty()


def test_retry_repeats_the_whole_pull(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    registry.add("1", two_layers())
    registry.faults.busy = {"1": 6}
    registry.faults.retry_after = "0"
    done = engine_root.call("pull", "--retry", "2", "--retry-delay", "10ms", f"{registry.host}/x:1")
    assert done.returncode == 0, done.stderr
    assert "Failed, retrying in 0.01s ... (1/2)" in done.stderr
    assert "invalid duration" in engine_root.fails("pull", "--retry-delay", "soon", "x.io/x")


def test_tiny_pieces_of_a_slow_transfer_are_put_together(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = Image([Layer().add("f", b"x" * 3000).tar()])
    registry.add("1", image)
    registry.faults.trickle = {images.digest(image.packed[0]): 3}
    assert engine_root.ok("pull", "-q", f"{registry.host}/x:1").strip() == image.id


@pytest.mark.parametrize("which", ["layer", "config", "manifest"])
def test_redirects_without_end_are_not_followed(
    engine_root: EngineRoot, registry: SmallRegistry, which: str
) -> None:
    image = two_layers()
    registry.add("1", image)
    names = {"layer": images.digest(image.packed[0]), "config": f"sha256:{image.id}",
             "manifest": "1"}  # fmt: skip
    registry.faults.redirect = {names[which]: "itself"}
    message = engine_root.fails("pull", f"{registry.host}/x:1")
    assert f"{names[which]} in {registry.host}/x: redirected more than 5 times" in message
    assert engine_root.images() == []
    assert engine_root.orphans() == set()


def test_credentials_do_not_follow_a_redirect(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    image = two_layers()
    registry.add("1", image)
    registry.faults.credentials = ("me", "secret")
    with small_registry() as storage:
        storage.add("1", image)
        layer = images.digest(image.packed[0])
        registry.faults.redirect = {layer: f"http://{storage.host}/v2/x/blobs/{layer}"}
        engine_root.ok("pull", "--creds", "me:secret", f"{registry.host}/x:1")
        assert storage.faults.authorizations == [""]


def test_a_401_without_end_is_an_error(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    registry.add("1", two_layers())
    registry.faults.bearer = True
    registry.faults.token = "never-good"
    message = engine_root.fails("pull", "--creds", "me:secret", f"{registry.host}/x:1")
    assert "unauthorized: authentication required" in message
    assert len([line for line in registry.faults.requests if line.startswith("/token")]) == 1


def test_a_manifest_without_end_is_refused(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    media_type = "application/vnd.oci.image.manifest.v1+json"
    registry.contents["huge"] = (b" " * (5 << 20), media_type)
    message = engine_root.fails("pull", f"{registry.host}/x:huge")
    assert "longer than 4194304 bytes" in message


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (b"[]", "not a JSON object"),
        (b'{"schemaVersion": 1}', "fsLayers or history is missing"),
        (b'{"schemaVersion": 3}', "schemaVersion: 3, not 2"),
        (b'{"schemaVersion": 2, "config": {}, "layers": []}', "config/digest: None is not"),
        (b'{"schemaVersion": 2, "manifests": [7]}', "manifests/0: not a JSON object"),
        (b'{"schemaVersion": 2, "manifests": []}', "no image for linux/"),
    ],
)
def test_a_manifest_that_is_none_is_refused(
    engine_root: EngineRoot, registry: SmallRegistry, manifest: bytes, problem: str
) -> None:
    registry.contents["odd"] = (manifest, "application/vnd.oci.image.manifest.v1+json")
    assert problem in engine_root.fails("pull", f"{registry.host}/x:odd")
    assert engine_root.is_empty()


def test_a_mirror_comes_first_and_its_registry_when_it_fails(
    engine_root: EngineRoot, registry: SmallRegistry, configure: Path
) -> None:
    image = two_layers()
    with small_registry() as mirror:
        configure.write_text(
            f'[[registry]]\nprefix = "example.com/team"\nlocation = "{registry.host}/real"\n'
            f'[[registry.mirror]]\nlocation = "127.0.0.1:{free_port()}/down"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}/copy"\n'
        )
        mirror.add("1", image)
        registry.add("2", image)
        engine_root.ok("pull", "example.com/team/app:1")
        assert registry.faults.requests == []
        assert "/v2/copy/app/manifests/1" in mirror.faults.requests
        engine_root.ok("pull", "example.com/team/app:2")
        assert "/v2/real/app/manifests/2" in registry.faults.requests
        message = engine_root.fails("pull", "example.com/team/app:3")
        assert f"reading manifest 3 in {mirror.host}/copy/app" in message
        assert f"reading manifest 3 in {registry.host}/real/app" in message
    names = engine_root.images()[0]["Names"]
    assert names == ["example.com/team/app:1", "example.com/team/app:2"]


def test_the_next_place_goes_on_where_a_mirror_breaks_off(
    engine_root: EngineRoot, registry: SmallRegistry, configure: Path
) -> None:
    image = images.busybox_image()
    blob, config = images.digest(image.packed[0]), images.digest(image.config)
    with small_registry() as mirror:
        configure.write_text(
            f'[[registry]]\nlocation = "{registry.host}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}/copy"\n'
            'pull-from-mirror = "tag-only"\n'
        )
        mirror.add("1", image)
        registry.add("1", image)
        mirror.faults.cut_after[blob] = 1000
        mirror.faults.accept_ranges = False
        mirror.faults.replace[config] = b"something else"
        name = f"{registry.host}/app"
        assert engine_root.ok("pull", "-q", f"{name}:1").strip() == image.id
        asked = [line for line in registry.faults.requests if f"/blobs/{blob}" in line]
        assert len(asked) == 1
        assert int(asked[0].partition("bytes=")[2].rstrip("-")) > 0  # not from the beginning
        assert not [line for line in registry.faults.requests if "/manifests/" in line]
        engine_root.ok("rmi", "-a")
        mirror.faults.requests.clear()
        engine_root.ok("pull", "-q", f"{name}@{images.digest(image.manifest)}")
        assert mirror.faults.requests == []


def test_a_short_name_that_fits_several_registries_is_asked_for_on_a_terminal(
    engine_root: EngineRoot, registry: SmallRegistry, configure: Path
) -> None:
    """What was pulled is remembered; a tmpfs keeps it from this machine."""
    registry.add("1", two_layers())
    configure.write_text(
        f'unqualified-search-registries = ["127.0.0.1:{free_port()}", "{registry.host}"]\n'
    )
    script = (
        'mount -t tmpfs tmpfs /var/cache; "$@"; echo "status $?"; ls -A /var/cache; "$@"; '
        'cat /var/cache/containers/*; "$@" </dev/null'
    )
    program = ["--mount", "sh", "-c", script, "sh", *engine_root.argv("pull", "team/x:1")]
    child = pexpect.spawn("unshare", program, timeout=60, encoding="utf-8")
    child.expect("Please select an image:")
    child.expect(f"2. {registry.host}/team/x:1")
    child.sendline("1")
    child.expect("Connection refused")
    child.expect("status 125\r\n\\? Please select an image:")  # what failed is not remembered
    child.sendline("2")
    child.expect(f'"team/x" = "{registry.host}/team/x"')
    child.expect(f"Trying to pull {registry.host}/team/x:1")  # nobody is asked again
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    configure.write_text(configure.read_text() + 'short-name-mode = "enforcing"\n')
    assert "enforcing without a terminal to ask on" in engine_root.fails("pull", "team/y:1")


def test_a_blocked_registry_is_not_asked(
    engine_root: EngineRoot, registry: SmallRegistry, configure: Path
) -> None:
    configure.write_text(f'[[registry]]\nlocation = "{registry.host}"\nblocked = true\n')
    registry.add("1", two_layers())
    assert "is blocked in" in engine_root.fails("pull", f"{registry.host}/x:1")
    assert registry.faults.requests == []


def test_a_short_name_is_looked_for_in_order(
    engine_root: EngineRoot, registry: SmallRegistry, configure: Path
) -> None:
    with small_registry() as first:
        configure.write_text(
            f'unqualified-search-registries = ["{first.host}", "{registry.host}"]\n'
        )
        registry.add("1", two_layers())
        engine_root.ok("pull", "team/x:1")
        assert "/v2/team/x/manifests/1" in first.faults.requests
    assert engine_root.images()[0]["Names"] == [f"{registry.host}/team/x:1"]


def test_a_policy_of_pulling_is_kept(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    name = f"{registry.host}/x:1"
    first, second = two_layers(), images.busybox_image()
    registry.add("1", first)
    assert "image not known" in engine_root.fails("pull", "--policy", "never", name)
    assert engine_root.ok("pull", "-q", "--policy", "missing", name).strip() == first.id
    registry.add("1", second)
    registry.faults.requests.clear()
    for policy in ("missing", "never"):
        assert engine_root.ok("pull", "-q", "--policy", policy, name).strip() == first.id
    assert registry.faults.requests == []
    assert engine_root.ok("pull", "-q", "--policy", "newer", name).strip() == second.id
    registry.faults.requests.clear()
    assert engine_root.ok("pull", "-q", "--policy", "newer", name).strip() == second.id
    assert not [line for line in registry.faults.requests if "/blobs/" in line]


def test_every_tag_is_pulled(engine_root: EngineRoot, registry: SmallRegistry) -> None:
    first, second = two_layers(), images.busybox_image()
    registry.add("a", first)
    registry.add("b", second)
    registry.faults.tags = ["a", "b"]
    out = engine_root.ok("pull", "-q", "--all-tags", f"{registry.host}/x")
    assert out.split() == [first.id, second.id]
    names = [name for one in engine_root.images() for name in one["Names"]]
    assert sorted(names) == [f"{registry.host}/x:a", f"{registry.host}/x:b"]
    assert "can't be used with --all-tags" in engine_root.fails(
        "pull", "-a", f"{registry.host}/x:a"
    )


def test_a_proxy_is_asked_where_the_environment_names_one(
    engine_root: EngineRoot, registry: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add("1", two_layers())
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert "pinging container registry" in engine_root.fails("pull", f"{registry.host}/x:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    engine_root.ok("pull", f"{registry.host}/x:1")
    assert "http_proxy" in os.environ
