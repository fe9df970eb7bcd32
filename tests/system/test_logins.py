"""login and logout, podman's and skopeo's; and what else skopeo says to a registry."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from support import images
from support.engine import EngineRoot
from support.registry import SmallRegistry

pytestmark = pytest.mark.needs("root", "busybox")

PAIR = base64.b64encode(b"me:secret").decode()


def logins(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_bytes())["auths"]
    return found


def test_a_login_is_entered_kept_told_and_forgotten(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path
) -> None:
    registry.faults.credentials = ("me", "secret")
    file, host = tmp_path / "auth.json", registry.host
    engine_root.ok("secret", "create", "me", "-", stdin=b"secret")
    engine_root.ok("secret", "create", "wrong", "-", stdin=b"other")
    login = ["login", "--authfile", str(file)]
    assert engine_root.ok(*login, "--secret", "me", host) == "Login Succeeded!\n"
    assert engine_root.ok(*login, "--get-login", host) == "me\n"
    assert "unauthorized" in engine_root.fails(*login, "--secret", "wrong", "-u", "me", host)
    assert '"none": no such secret' in engine_root.fails(*login, "--secret", "none", host)
    both = ["--secret", "me", "-p", "x"]
    assert "--secret cannot be used with --password" in engine_root.fails(*login, *both, host)
    engine_root.ok(*login, "-v", "-u", "me", "--password-stdin", f"{host}/team", stdin=b"secret\n")
    assert logins(file) == {host: {"auth": PAIR}, f"{host}/team": {"auth": PAIR}}
    engine_root.ok("logout", "--authfile", file, "--all")
    assert logins(file) == {}
    assert f"not logged into {host}" in engine_root.fails(*login, "--get-login", host)


@pytest.mark.parametrize("who", [[], ["skopeo"]])
def test_dockers_file_is_kept_in_dockers_way(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path, who: list[str]
) -> None:
    registry.faults.credentials = ("me", "secret")
    file, host, status = tmp_path / "docker/config.json", registry.host, 1 if who else 125
    to = ["--compat-auth-file", str(file)]
    login = [*who, "login", *to, "-u", "me", "-p", "secret"]
    engine_root.ok(*login, host)
    assert logins(file) == {host: {"auth": PAIR}}
    assert engine_root.ok(*who, "login", *to, "--get-login", host) == "me\n"
    assert "for a whole registry" in engine_root.fails(*login, f"{host}/team", status=status)
    words = [*login, "--authfile", str(file), host]
    assert "can not be set simultaneously" in engine_root.fails(*words, status=status)
    hub = {"https://index.docker.io/v1/": {"auth": PAIR}}
    file.write_text(json.dumps({"auths": {host: {"auth": PAIR}} | hub, "other": 1}))
    more = ["--tls-verify=false"] if who else []
    engine_root.ok(*who, "logout", *to, *more, "docker.io")
    assert json.loads(file.read_bytes()) == {"auths": {host: {"auth": PAIR}}, "other": 1}
    engine_root.ok(*who, "logout", *to, host)
    assert logins(file) == {}


def test_skopeo_says_who_asks_wants_signatures_and_names_other_digests(
    engine_root: EngineRoot, registry: SmallRegistry, tmp_path: Path
) -> None:
    image = images.busybox_image()
    registry.add("1", image)
    there = f"docker://{registry.host}/x:1"
    words = ["inspect", "-n", "--format", "{{.Digest}}", "--manifest-digest", "sha512", there]
    sha512 = hashlib.sha512(image.manifest).hexdigest()
    found = engine_root.ok("skopeo", "--user-agent-prefix", "robot/1", *words)
    assert found == f"sha512:{sha512}\n"
    (agent,) = registry.faults.agents
    assert agent.startswith("robot/1 pyengine/")
    copy = ["copy", "-q", there, f"dir:{tmp_path}/out"]
    message = engine_root.fails("skopeo", "--require-signed", *copy, status=1)
    assert "a signature is required (--require-signed)" in message
    assert not (tmp_path / "out/manifest.json").exists()
    message = engine_root.fails("skopeo", "--require-signed", "--insecure-policy", *copy, status=1)
    assert "contradict each other" in message
    message = engine_root.fails("skopeo", "delete", "--daemon-host", "x", "docker-daemon:x:1",
                                status=1)  # fmt: skip
    assert "only images in registries, stores and OCI layouts can be deleted" in message
