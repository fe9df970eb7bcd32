"""policy.json and signatures: what may not be used is refused before a layer is fetched."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image
from support.registry import SmallRegistry, debian_registry

pytestmark = pytest.mark.needs("root", "busybox")


def write_policy(path: Path, default: str, **transports: Any) -> Path:
    path.write_text(json.dumps({"default": [{"type": default}], "transports": transports}))
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A gpg home with two keys, and their public halves as good.gpg and other.gpg."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    for name in ("good", "other"):
        make = [*gpg, "--quick-generate-key", f"{name}@example.com", "ed25519", "sign", "1d"]
        subprocess.run(make, check=True, capture_output=True)
        export = [*gpg, "--output", f"{home}/{name}.gpg", "--export", f"{name}@example.com"]
        subprocess.run(export, check=True, capture_output=True)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def signed_by(key: Path, **identity: str) -> dict[str, Any]:
    requirement: dict[str, Any] = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(key)}
    if identity:
        requirement["signedIdentity"] = identity
    return requirement


def test_the_narrowest_scope_decides(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path
) -> None:
    registry.add("1", images.busybox_image())
    accept, reject = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
    name = f"{registry.host}/team/app:1"
    cases = {
        "": False, registry.host: True, f"{registry.host}/team": False,
        f"{registry.host}/team/app": True, name: False,
    }  # fmt: skip
    scopes: dict[str, Any] = {}
    for scope, accepted in cases.items():
        scopes[scope] = accept if accepted else reject
        policy = write_policy(tmp_path / "policy.json", "insecureAcceptAnything", docker=scopes)
        registry.faults.requests.clear()
        done = engine_root.call("pull", "--signature-policy", policy, name)
        assert (done.returncode == 0) is accepted, (scope, done.stderr)
        if not accepted:
            assert f"Running image docker://{name} is rejected by policy" in done.stderr
            assert not [line for line in registry.faults.requests if "/blobs/" in line]
            engine_root.call("rmi", "-a")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("{}", "default is missing"),
        ('{"default": []}', "/default: not a list of requirements"),
        ('{"default": [{"type": "maybe"}]}', "/default/0: requirement 'maybe' is not supported"),
        ('{"default": [{"type": "signedBy", "keyType": "GPGKeys"}]}', "one of keyPath, keyPaths"),
        ('{"default": [{"type": "reject"}], "transport": {}}', "unknown key transport"),
        ('{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k", '
         '"signedIdentity": {"type": "matchAll"}}]}', "signedIdentity: none of matchExact"),
    ],
)  # fmt: skip
def test_a_policy_that_is_not_understood_lets_nothing_through(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path, text: str, problem: str
) -> None:
    registry.add("1", images.busybox_image())
    policy = tmp_path / "policy.json"
    policy.write_text(text)
    message = engine_root.fails("pull", "--signature-policy", policy, f"{registry.host}/x:1")
    assert problem in message
    assert str(policy) in message
    assert engine_root.images() == []


@pytest.fixture
def signed(
    engine_root: EngineRoot, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Image]:
    """A directory with a signed image."""
    monkeypatch.setenv("GNUPGHOME", str(keys))
    image = images.busybox_image()
    archive = images.oci_archive(tmp_path / "a.tar", {"x": image})
    engine_root.ok("skopeo", "copy", "-q", "--sign-by", "good@example.com", "--sign-identity",
                   "example.com/team/app:1", f"oci-archive:{archive}",
                   f"dir:{tmp_path}/signed")  # fmt: skip
    return tmp_path / "signed", image


@pytest.mark.needs("gpg")
@pytest.mark.parametrize(
    ("identity", "problem"),
    [
        ({"type": "exactReference", "dockerReference": "example.com/team/app:1"}, ""),
        ({"type": "exactRepository", "dockerRepository": "example.com/team/app"}, ""),
        ({"type": "exactReference", "dockerReference": "example.com/team/app:2"}, "it speaks of"),
        ({"type": "exactRepository", "dockerRepository": "example.com/team"}, "it speaks of"),
        ({"type": "matchRepository"}, "the image has no name to compare with"),
    ],
)
def test_a_signature_serves_the_identity_it_speaks_of(
    engine_root: EngineRoot,
    keys: Path,
    tmp_path: Path,
    signed: tuple[Path, Image],
    identity: dict[str, str],
    problem: str,
) -> None:
    directory, image = signed
    requirement = [signed_by(keys / "good.gpg", **identity)]
    policy = write_policy(tmp_path / "policy.json", "reject", dir={"": requirement})
    done = engine_root.call("pull", "-q", "--signature-policy", policy, f"dir:{directory}")
    if problem:
        assert done.returncode == 125
        assert problem in done.stderr
    else:
        assert done.stdout.strip() == image.id, done.stderr


@pytest.mark.needs("gpg")
def test_a_bad_signature_does_not_serve(
    engine_root: EngineRoot, keys: Path, tmp_path: Path, signed: tuple[Path, Image]
) -> None:
    directory, image = signed
    exact = {"type": "exactReference", "dockerReference": "example.com/team/app:1"}

    def pull(key: str) -> str:
        requirement = [signed_by(keys / key, **exact)]
        policy = write_policy(tmp_path / "policy.json", "reject", dir={"": requirement})
        return engine_root.fails("pull", "--signature-policy", policy, f"dir:{directory}")

    assert "it is made by another key" in pull("other.gpg")
    signature = directory / "signature-1"
    good = signature.read_bytes()
    signature.write_bytes(good[:-3])
    assert "no signature of dir:" in pull("good.gpg")
    signature.write_bytes(b"nonsense")
    assert "it is no signature" in pull("good.gpg")
    signature.write_bytes(good)
    other = json.loads(image.manifest)
    other["annotations"] = {"changed": "yes"}
    (directory / "manifest.json").write_bytes(images.encode(other))
    assert f"it signs {images.digest(image.manifest)}, not sha256:" in pull("good.gpg")
    assert "read key" in pull("missing.gpg")
    signature.unlink()
    assert "A signature was required, but no signature exists" in pull("good.gpg")
    assert engine_root.is_empty()


@pytest.mark.needs("gpg", "docker-registry", "skopeo")
def test_skopeo_and_we_accept_each_others_signatures(
    engine_root: EngineRoot, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(keys))
    image = images.busybox_image()
    archive = images.oci_archive(tmp_path / "a.tar", {"x": image})
    configuration = tmp_path / "registries.d"
    configuration.mkdir()
    place = f"file://{tmp_path}/sigstore"
    (configuration / "default.yaml").write_text(
        f"default-docker:\n  lookaside: {place}\n  sigstore: {place}\n  sigstore-staging: {place}\n"
    )
    with debian_registry(tmp_path) as host:
        requirement = [signed_by(keys / "good.gpg")]
        policy = write_policy(tmp_path / "policy.json", "reject", docker={host: requirement})
        options = ["--registries.d", str(configuration)]
        sign = ["--dest-tls-verify=false", "--sign-by", "good@example.com"]
        loose = ["--insecure-policy", *options]
        ours = [*engine_root.argv("skopeo")]
        for number, (writer, reader) in enumerate(((ours, ["skopeo"]), (["skopeo"], ours))):
            there = f"docker://{host}/x{number}:1"
            run(*writer, *loose, "copy", "-q", *sign, f"oci-archive:{archive}", there)
            strict = [*options, "--policy", str(policy), "copy", "-q", "--src-tls-verify=false"]
            run(*reader, *strict, there, f"dir:{tmp_path}/out{number}")
            copied = f"docker://{host}/unsigned{number}:1"
            run(*writer, *loose, "copy", "-q", "--remove-signatures", "--src-tls-verify=false",
                "--dest-tls-verify=false", there, copied)  # fmt: skip
            problem = run(*reader, *strict, copied, f"dir:{tmp_path}/no{number}", status=1)
            assert "signature" in problem.lower()
            assert (tmp_path / f"out{number}/signature-1").exists()


@pytest.mark.needs("gpg", "skopeo")
def test_a_manifest_in_a_file_is_signed_and_verified(
    engine_root: EngineRoot, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(keys))
    manifest, other = tmp_path / "manifest", tmp_path / "other"
    manifest.write_bytes(images.busybox_image().manifest)
    other.write_bytes(b"{}")
    signature, name = tmp_path / "signature", "example.com/app:1"
    engine_root.ok("skopeo", "standalone-sign", "-o", signature, manifest, name, "good@example.com")
    verify = ["skopeo", "standalone-verify", "--public-key-file", str(keys / "good.gpg")]
    said = engine_root.ok(*verify, manifest, name, "any", signature)
    fingerprint = said.split("fingerprint ")[1].partition(",")[0]
    run("skopeo", "standalone-verify", str(manifest), name, fingerprint, str(signature))
    for words, problem in (
        ([other, name, "any"], "the signature is for"),
        ([manifest, "example.com/app:2", "any"], "the signature is for"),
        ([manifest, name, "0" * 40], "the signature is by"),
    ):
        assert problem in engine_root.fails(*verify, *map(str, words), signature, status=1)
    verify[-1] = str(keys / "other.gpg")
    problem = engine_root.fails(*verify, manifest, name, "any", signature, status=1)
    assert "made by another key" in problem


@pytest.mark.needs("gpg", "docker-registry", "skopeo")
def test_an_image_in_a_registry_is_signed_where_it_is(
    engine_root: EngineRoot, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(keys))
    archive = images.oci_archive(tmp_path / "a.tar", {"x": images.busybox_image()})
    store, configuration = tmp_path / "store", tmp_path / "registries.d"
    store.mkdir()
    configuration.mkdir()
    lookaside = f"lookaside: file://{store}\n  sigstore: file://{store}"
    (configuration / "default.yaml").write_text(f"default-docker:\n  {lookaside}\n")
    with debian_registry(tmp_path) as host:
        name = f"{host}/team/x:1"
        engine_root.ok("skopeo", "copy", "-q", f"oci-archive:{archive}", f"docker://{name}")
        sign = ["image", "sign", "--sign-by", "good@example.com", "-d", str(store)]
        for number in (1, 2):
            engine_root.ok(*sign, name)
            assert len(list(store.glob("team/x@sha256=*/signature-*"))) == number
        policy = write_policy(tmp_path / "policy.json", "reject",
                              docker={host: [signed_by(keys / "good.gpg")]})  # fmt: skip
        run("skopeo", "--registries.d", str(configuration), "--policy", str(policy), "copy", "-q",
            "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/out")  # fmt: skip
        assert "manifest unknown" in engine_root.fails(*sign, f"{host}/team/x:2")
        sign[-1] = str(tmp_path / "missing")
        assert "no such directory" in engine_root.fails(*sign, name)


def run(*command: str, status: int = 0) -> str:
    done = subprocess.run(
        command, env=os.environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode == 0) is (status == 0), done.stderr
    return done.stderr


@pytest.mark.needs("gpg")
def test_trust_is_set_and_shown(engine_root: EngineRoot, keys: Path, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy.json", "insecureAcceptAnything")
    path = ["--policypath", str(policy)]
    engine_root.ok("image", "trust", "set", *path, "-t", "reject", "example.com")
    engine_root.ok("image", "trust", "set", *path, "-f", keys / "good.gpg", "example.com/team")
    engine_root.ok("image", "trust", "set", *path, "-t", "accept", "default")
    sigstore = ["-t", "sigstoreSigned", "-f", str(keys / "good.gpg")]
    engine_root.ok("image", "trust", "set", *path, *sigstore, "example.org")
    fields = json.loads(policy.read_text())
    assert fields["transports"]["docker"]["example.com"] == [{"type": "reject"}]
    assert fields["transports"]["docker"]["example.com/team"][0]["type"] == "signedBy"
    shown = engine_root.ok("image", "trust", "show", *path).splitlines()
    assert shown[0].split() == ["TRANSPORT", "NAME", "TYPE", "ID", "STORE"]
    rows = {line.split()[1]: line.split()[2] for line in shown[1:]}
    assert rows == {"default": "accept", "example.com": "reject", "example.com/team": "signed",
                    "example.org": "sigstoreSigned"}  # fmt: skip
    assert "good@example.com" in engine_root.ok("image", "trust", "show", *path)
    assert json.loads(engine_root.ok("image", "trust", "show", "--raw", *path)) == fields
    listed = json.loads(engine_root.ok("image", "trust", "show", "-j", *path))
    assert {one["repo_name"] for one in listed} == set(rows)
    missing = engine_root.fails("image", "trust", "set", *path, "-f", "/no/key", "example.com")
    assert "/no/key" in missing
    assert json.loads(policy.read_text()) == fields


@pytest.mark.needs("gpg")
def test_the_store_keeps_signatures_and_hands_them_on(
    engine_root: EngineRoot, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(keys))
    archive = images.oci_archive(tmp_path / "a.tar", {"x": images.busybox_image()})
    signed, out, name = tmp_path / "signed", tmp_path / "out", "registry.example/x:1"
    sign = ["--sign-by", "good@example.com", "--sign-identity", name]
    engine_root.ok("skopeo", "copy", "-q", *sign, f"oci-archive:{archive}", f"dir:{signed}")
    signature = (signed / "signature-1").read_bytes()

    engine_root.ok("pull", "-q", f"dir:{signed}")
    (image,) = engine_root.images()
    engine_root.ok("tag", image["Id"], name)
    for words in (["push", "-q", name], ["skopeo", "copy", "-q", f"containers-storage:{name}"]):
        engine_root.ok(*words, f"dir:{out}")
        assert (out / "signature-1").read_bytes() == signature
        assert not (out / "signature-2").exists()

    for key, status in (("good", 0), ("other", 1)):
        scope = {"": [signed_by(keys / f"{key}.gpg")]}
        policy = write_policy(tmp_path / "policy.json", "reject", **{"containers-storage": scope})
        strict = ["skopeo", "--policy", str(policy), "copy", "-q"]
        done = engine_root.call(*strict, f"containers-storage:{name}", f"dir:{out}")
        assert done.returncode == status, done.stderr

    message = engine_root.fails("push", "-q", name, f"oci:{tmp_path}/layout:x")
    assert "it cannot keep them; leave them out with --remove-signatures" in message
    engine_root.ok("push", "-q", "--remove-signatures", name, f"oci:{tmp_path}/layout:x")
    engine_root.ok("save", "-q", "--format", "oci-dir", "-o", tmp_path / "saved", name)
    engine_root.ok("push", "-q", "--remove-signatures", name, f"dir:{out}")
    assert not (out / "signature-1").exists()
    engine_root.ok("system", "check")

    engine_root.ok("skopeo", "copy", "-q", *sign[:2], f"dir:{signed}", f"containers-storage:{name}")
    engine_root.ok("push", "-q", name, f"dir:{out}")
    assert sorted(path.name for path in out.glob("signature-*")) == ["signature-1", "signature-2"]
    engine_root.ok("rmi", "-f", image["Id"])
    engine_root.ok("load", "-q", "-i", signed)
    assert len(engine_root.rows("SELECT * FROM image_signatures")) == 1
    engine_root.ok("rmi", "-a", "-f")
    assert engine_root.is_empty()
