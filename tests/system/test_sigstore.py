"""Sigstore signatures beside images in a registry; Debian's skopeo has them disabled."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import images
from support.engine import EngineRoot
from support.registry import debian_registry

pytestmark = pytest.mark.needs("root", "busybox", "docker-registry", "openssl")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with debian_registry(tmp_path) as host:
        yield host


def keys(engine_root: EngineRoot, directory: Path, name: str) -> Path:
    """A new pair; the public half's path."""
    (directory / "passphrase").write_text("secret\nnot this line\n")
    out = engine_root.ok("skopeo", "generate-sigstore-key", "--output-prefix", directory / name,
                         "--passphrase-file", directory / "passphrase")  # fmt: skip
    assert out == f'Key written to "{directory}/{name}.private" and "{directory}/{name}.pub"\n'
    assert (directory / f"{name}.private").stat().st_mode & 0o777 == 0o600
    return directory / f"{name}.pub"


def run(*command: str | Path, ok: bool = True) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) is ok, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def openssl_verifies(signature: Path, key: Path, directory: Path) -> None:
    """Another program agrees."""
    fields = json.loads(signature.read_bytes().partition(b"\n")[2])
    (directory / "payload").write_bytes(base64.b64decode(fields["payload"]))
    encoded = fields["annotations"]["dev.cosignproject.cosign/signature"]
    (directory / "raw").write_bytes(base64.b64decode(encoded))
    run("openssl", "dgst", "-sha256", "-verify", key, "-signature", directory / "raw",
        directory / "payload")  # fmt: skip


def test_what_is_signed_is_accepted_under_its_name_and_by_its_key_only(
    engine_root: EngineRoot, registry: str, tmp_path: Path
) -> None:
    good, other = (keys(engine_root, tmp_path, name) for name in ("good", "other"))
    archive = images.oci_archive(tmp_path / "a.tar", {"x": images.busybox_image()})
    configuration = tmp_path / "registries.d"
    configuration.mkdir()
    (configuration / "x.yaml").write_text(f"docker: {{'{registry}': "
                                          "{use-sigstore-attachments: true}}\n")  # fmt: skip
    policies = {}
    for name, key in (("good", good), ("other", other)):
        policies[name] = tmp_path / f"{name}.json"
        required: dict[str, Any] = {"type": "sigstoreSigned", "keyPath": str(key)}
        scopes = {"docker": {registry: [required]}}
        content = {"default": [{"type": "reject"}], "transports": scopes}
        policies[name].write_text(json.dumps(content))
    ours = engine_root.argv("skopeo")
    common: list[str | Path] = ["--registries.d", configuration]
    sign: list[str | Path] = ["--sign-by-sigstore-private-key", tmp_path / "good.private",
            "--sign-passphrase-file", tmp_path / "passphrase"]  # fmt: skip
    there = f"docker://{registry}/x:1"
    copy: list[str | Path] = [*ours, *common, "--insecure-policy", "copy", "-q"]
    run(*copy, *sign, f"oci-archive:{archive}", there)
    for name in ("good", "other"):
        check: list[str | Path] = [*ours, *common, "--policy", policies[name], "copy", "-q"]
        said = run(*check, there, f"dir:{tmp_path}/{name}", ok=name == "good")
    assert "no signature of" in said
    assert "made by another key" in said
    openssl_verifies(tmp_path / "good/signature-1", good, tmp_path)
    # signatures go along, and more may be added
    run(*copy, f"dir:{tmp_path}/good", f"docker://{registry}/again:1")
    run(*copy, *sign, f"dir:{tmp_path}/good", f"docker://{registry}/again:1")
    run(*copy, f"docker://{registry}/again:1", f"dir:{tmp_path}/again")
    assert len(list((tmp_path / "again").glob("signature-*"))) == 2
    strict: list[str | Path] = [*ours, *common, "--policy", policies["good"], "copy", "-q"]
    run(*strict, f"docker://{registry}/again:1", f"dir:{tmp_path}/again")
    run(*copy, "--remove-signatures", there, f"docker://{registry}/bare:1")
    run(*copy, f"dir:{tmp_path}/good", f"docker://{registry}/bare:2")
    said = run(*strict, f"docker://{registry}/bare:1", f"dir:{tmp_path}/no", ok=False)
    assert "it speaks of" in said  # of x:1, and the digest's signatures are the repository's
    said = run(*copy, "-f", "v2s2", there, f"docker://{registry}/y:1", ok=False)
    assert "its manifest would change and its signatures be wrong" in said
    problem = run(*ours, "--insecure-policy", "copy", "-q", *sign, f"oci-archive:{archive}",
                  f"docker://{registry}/y:1", ok=False)  # fmt: skip
    assert "set use-sigstore-attachments to true" in problem


def test_an_image_that_was_pushed_signed_is_pulled_by_a_strict_policy(
    engine_root: EngineRoot, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own registries.d is an ordinary user's, so the options of skopeo stand in."""
    key = keys(engine_root, tmp_path, "key")
    image = images.busybox_image()
    engine_root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"localhost/x:1": image}))
    parameters = tmp_path / "sign.yaml"
    parameters.write_text(
        f"privateKeyFile: {tmp_path}/key.private\nprivateKeyPassphraseFile: {tmp_path}/passphrase\n"
    )
    identity = f"{registry}/team/x:1"
    engine_root.ok("push", "-q", "--remove-signatures", "x:1", f"dir:{tmp_path}/plain")
    engine_root.ok("skopeo", "copy", "-q", "--sign-by-sigstore", parameters, "--sign-identity",
                   identity, f"dir:{tmp_path}/plain", f"dir:{tmp_path}/signed")  # fmt: skip
    policy = tmp_path / "policy.json"
    rule = {"type": "exactReference", "dockerReference": identity}
    required = {"type": "sigstoreSigned", "keyPath": str(key), "signedIdentity": rule}
    policy.write_text(json.dumps({"default": [required]}))
    strict: list[str | Path] = ["pull", "-q", "--signature-policy", policy]
    assert engine_root.ok(*strict, f"dir:{tmp_path}/signed").strip() == image.id
    assert "no signature exists" in engine_root.fails(*strict, f"dir:{tmp_path}/plain")
    required["signedIdentity"] = {**rule, "dockerReference": f"{registry}/team/x:2"}
    policy.write_text(json.dumps({"default": [required]}))
    assert "it speaks of" in engine_root.fails(*strict, f"dir:{tmp_path}/signed")
    monkeypatch.setenv("PATH", "/nowhere")  # gpg is not needed
    (tmp_path / "passphrase").write_text("wrong")
    problem = engine_root.fails("push", "--sign-by-sigstore", parameters, "x:1", identity)
    assert "the passphrase is wrong" in problem
    problem = engine_root.fails("push", "--sign-by-sigstore-private-key", key, "x:1", identity)
    assert "no terminal to ask for its passphrase on" in problem
