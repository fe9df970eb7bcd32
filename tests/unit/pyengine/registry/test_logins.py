from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyengine.errors import ConfigError, NotFoundError
from pyengine.registry import credentials, logins
from pyengine.registry.credentials import Login


def test_a_login_is_kept_and_forgotten(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "auth.json")
    logins.store("q.io/team", Login("me", "a:b"), path)
    logins.store("q.io", Login("you", "pw"), path)
    assert credentials.find("q.io/team/x", path) == Login("me", "a:b")
    assert credentials.find("q.io/other", path) == Login("you", "pw")
    assert os.stat(path).st_mode & 0o777 == 0o600
    logins.remove("q.io/team", path)
    assert credentials.find("q.io/team/x", path) == Login("you", "pw")
    with pytest.raises(NotFoundError, match=r"Not logged into q\.io/team"):
        logins.remove("q.io/team", path)
    logins.remove_all(path)
    assert credentials.find("q.io/x", path) is None


def test_what_else_is_in_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"HttpHeaders": {"X": "1"}, "auths": {"a": {"auth": "eDp5"}}}')
    logins.store("b", Login("me", "pw"), str(path))
    content = json.loads(path.read_text())
    assert content["HttpHeaders"] == {"X": "1"}
    assert set(content["auths"]) == {"a", "b"}


def test_an_identity_token_is_a_login(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"auths": {"q.io": {"identitytoken": "abc"}}}')
    assert credentials.find("q.io/x", str(path)) == Login("<token>", "", "abc")


HELPER = """#!/bin/sh
file="$(dirname "$0")/kept"
case $1 in
store) cat >"$file" ;;
get) read -r server; [ -e "$file" ] || { echo "credentials not found in native keychain"; exit 1; }
    cat "$file" ;;
erase) rm "$file" ;;
list) [ -e "$file" ] && echo '{"q.io": "me"}' || echo '{}' ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helper named "tests" on the path; the file beside it is what it keeps."""
    program = tmp_path / "docker-credential-tests"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "kept"


@pytest.mark.parametrize("content", [{"credsStore": "tests"}, {"credHelpers": {"q.io": "tests"}}])
def test_a_helper_keeps_the_login(tmp_path: Path, helper: Path, content: dict[str, object]) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(content))
    assert credentials.find("q.io/x", str(path)) is None
    logins.store("q.io", Login("me", "pw"), str(path))
    assert json.loads(helper.read_text())["ServerURL"] == "q.io"
    assert "auths" not in json.loads(path.read_text())
    assert credentials.find("q.io/x", str(path)) == Login("me", "pw")
    logins.remove("q.io", str(path))
    assert not helper.exists()
    logins.store("q.io", Login("me", "pw"), str(path))
    logins.remove_all(str(path))
    assert not helper.exists()


def test_a_helper_that_is_missing_or_fails_is_named(tmp_path: Path, helper: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"credsStore": "none-such"}')
    with pytest.raises(ConfigError, match="run docker-credential-none-such get: No such file"):
        credentials.find("q.io/x", str(path))
    path.write_text('{"credsStore": "tests"}')
    helper.write_text("nonsense")
    with pytest.raises(ConfigError, match="docker-credential-tests get: not a login"):
        credentials.find("q.io/x", str(path))
    path.write_text('{"credsStore": "../evil"}')
    with pytest.raises(ConfigError, match="has no slash"):
        credentials.find("q.io/x", str(path))
