from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from pyengine.errors import ConfigError
from pyengine.registry import credentials
from pyengine.registry.credentials import Login


def write(path: Path, entries: dict[str, str]) -> str:
    auths = {
        key: {"auth": base64.b64encode(value.encode()).decode()} for key, value in entries.items()
    }
    path.write_text(json.dumps({"auths": auths}))
    return str(path)


def test_the_longest_key_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"q.io": "a:1", "q.io/team": "b:2", "q.io/team/app": "c:3:4"})
    assert credentials.find("q.io/team/app", path) == Login("c", "3:4")
    assert credentials.find("q.io/team/other", path) == Login("b", "2")
    assert credentials.find("q.io/x", path) == Login("a", "1")
    assert credentials.find("other.io/x", path) is None


def test_docker_hubs_old_key_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"https://index.docker.io/v1/": "me:pw"})
    assert credentials.find("docker.io/library/x", path) == Login("me", "pw")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "not JSON"), ('{"auths": {"q.io": {"auth": "%%"}}}', "not base64 of user:password")],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}: .*{problem}"):
        credentials.find("q.io/x", str(path))


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        credentials.find("q.io/x", str(tmp_path / "missing"))
