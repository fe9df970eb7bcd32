"""Secrets: kept, listed, given to containers as files and variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.engine import EngineRoot

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def root(module_root: ContainerRoot) -> Iterator[ContainerRoot]:
    """Without containers and secrets at the end of each test."""
    yield module_root
    module_root.remove_everything()
    module_root.ok("secret", "rm", "-a")
    assert module_root.settled() == []
    directory = module_root.root / "secrets"
    files = [path for path in directory.rglob("*") if path.is_file()] if directory.exists() else []
    assert files == []


def make(root: EngineRoot, name: str, data: bytes, *options: str) -> str:
    return root.ok("secret", "create", *options, name, "-", stdin=data).strip()


def test_a_secret_is_kept_for_root_alone_and_shown_only_when_asked(
    root: ContainerRoot, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(b"hunter2")
    id_ = root.ok("secret", "create", "-l", "a=b", "one", tmp_path / "data").strip()
    assert re.fullmatch("[0-9a-f]{25}", id_)
    file = root.root / "secrets/filedriver" / id_
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"hunter2", 0o600)
    assert file.parent.stat().st_mode & 0o777 == 0o700
    shown = json.loads(root.ok("secret", "inspect", "one"))[0]
    assert (shown["ID"], shown["Spec"]["Name"]) == (id_, "one")
    assert shown["Spec"]["Labels"] == {"a": "b"}
    assert shown["Spec"]["Driver"]["Name"] == "file"
    assert "hunter2" not in json.dumps(shown)
    assert "hunter2" in root.ok("secret", "inspect", "--showsecret", id_[:6])
    header, row = root.ok("secret", "ls").splitlines()
    assert header.split() == ["ID", "NAME", "DRIVER", "CREATED", "UPDATED"]
    assert row.startswith(f"{id_}  one         file        ")
    assert root.ok("secret", "ls", "-q", "--filter", "name=^on") == f"{id_}\n"
    assert root.ok("secret", "ls", "-q", "--filter", "name=none") == ""
    assert root.ok("secret", "ls", "--format", "{{.Name}} {{.Driver}}") == "one file\n"
    assert root.call("secret", "exists", "one").returncode == 0
    assert root.call("secret", "exists", "two").returncode == 1
    done = root.call("secret", "inspect", "one", "two")
    assert (done.returncode, len(json.loads(done.stdout))) == (125, 1)
    assert 'inspecting secret: no secret with name or id "two": no such secret' in done.stderr


def test_replace_ignore_and_the_environment(root: ContainerRoot) -> None:
    first = make(root, "one", b"first")
    assert "one: secret name in use" in root.fails("secret", "create", "one", "-", stdin=b"x")
    assert make(root, "one", b"x", "--ignore") == first
    second = make(root, "one", b"second", "--replace")
    assert second != first
    assert os.listdir(root.root / "secrets/filedriver") == [second]
    environment = {**os.environ, "FROM_HERE": "by variable"}
    subprocess.run(
        root.argv("secret", "create", "--env", "two", "FROM_HERE"), env=environment, check=True,
        capture_output=True,
    )  # fmt: skip
    assert json.loads(root.ok("secret", "inspect", "--showsecret", "two"))[0]["SecretData"] == (
        "by variable"
    )
    assert root.ok("secret", "rm", "one") == f"{second}\n"
    assert 'no secret with name or id "one"' in root.fails("secret", "rm", "one")
    assert root.ok("secret", "rm", "--ignore", "one") == ""
    told = root.ok("events", "--stream=false", "--filter", f"secret={second}", "--format",
                   "{{.Status}} {{.Name}}")  # fmt: skip
    assert told == "create one\nremove one\n"


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (["create", "a/b", "-"], b"x", "invalid secret name"),
        (["create", "x", "-"], b"", "larger than 0 and less than 512000 bytes"),
        (["create", "x", "-"], bytes(512000), "larger than 0 and less than 512000 bytes"),
        (["create", "x", "/no/such"], b"", "open /no/such"),
        (["create", "--env", "x", "NO_SUCH_VARIABLE"], b"", "NO_SUCH_VARIABLE is not set"),
        (["create", "-d", "nosuch", "x", "-"], b"x", 'invalid driver "nosuch"'),
        (["create", "-d", "shell", "x", "-"], b"x", 'missing config value: "delete"'),
        (["create", "x"], b"", "accepts 2 arg(s), received 1"),
        (["ls", "--filter", "label=x"], b"", 'invalid filter "label"'),
        (["rm"], b"", "requires one argument, or the --all flag"),
        (["inspect", "nosuch"], b"", "no such secret"),
    ],
)
def test_what_makes_no_sense_is_refused(
    engine_root: EngineRoot, words: list[str], stdin: bytes, message: str
) -> None:
    assert message in engine_root.fails("secret", *words, stdin=stdin)
    assert not (engine_root.root / "secrets").exists() or not [
        path for path in (engine_root.root / "secrets").rglob("*") if path.is_file()
    ]


def test_the_shell_driver_asks_the_users_commands(root: ContainerRoot, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    options = (
        f"list=ls {store},lookup=cat {store}/$SECRET_ID,store=cat >{store}/$SECRET_ID,"
        f"delete=rm {store}/$SECRET_ID"
    )
    id_ = make(root, "shelled", b"by shell", "-d", "shell", "--driver-opts", options)
    assert (store / id_).read_bytes() == b"by shell"
    assert root.sh("cat /run/secrets/shelled", "--secret", "shelled") == "by shell"
    root.ok("secret", "rm", "shelled")
    assert os.listdir(store) == []
    failing = options.replace("cat >", "echo it is full >&2; exit 3; cat >")
    message = root.fails("secret", "create", "-d", "shell", "--driver-opts", failing, "x", "-",
                         stdin=b"x")  # fmt: skip
    assert message.endswith("exit status 3: it is full")


def test_a_secret_is_a_file_with_owner_and_mode(root: ContainerRoot) -> None:
    make(root, "one", b"hunter2\xff\n")
    show = "stat -c '%a %u:%g %n' /run/secrets/* /etc/app/key 2>/dev/null; cat /run/secrets/one"
    done = subprocess.run(
        root.argv("run", "--rm", "--secret", "one", "--secret",
                  "source=one,target=named,uid=1000,gid=1001,mode=0400", "--secret",
                  "one,type=mount,target=/etc/app/key,mode=640", IMAGE, "sh", "-c", show),
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == (
        b"400 1000:1001 /run/secrets/named\n444 0:0 /run/secrets/one\n640 0:0 /etc/app/key\n"
        b"hunter2\xff\n"
    )


def test_a_secret_is_a_variable_that_inspect_does_not_tell(root: ContainerRoot) -> None:
    make(root, "one", b"hunter2")
    options = ("--secret", "one,type=env", "--secret", "one,type=env,target=OTHER")
    assert root.sh("echo $one $OTHER", *options) == "hunter2 hunter2\n"
    root.ok("run", "-d", "--name", "told", *options, IMAGE, "sleep", "1000")
    assert "hunter2" not in root.ok("inspect", "told")


def test_a_container_keeps_its_copy(root: ContainerRoot) -> None:
    make(root, "file", b"as it was")
    make(root, "variable", b"as it is")
    script = "cat /run/secrets/file; echo; echo $variable"
    root.ok("create", "--name", "keeper", "--secret", "file", "--secret", "variable,type=env",
            IMAGE, "sh", "-c", script)  # fmt: skip
    make(root, "file", b"changed", "--replace")
    root.ok("secret", "rm", "file")
    for _ in range(2):
        assert root.ok("start", "-a", "keeper") == "as it was\nas it is\n"
    root.ok("secret", "rm", "variable")
    assert "no such secret" in root.fails("start", "-a", "keeper")
    root.ok("rm", "keeper")
    assert os.listdir(root.root / "secrets/containers") == []


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nosuch", 'no secret with name or id "nosuch"'),
        ("one,type=bogus", "type bogus is invalid"),
        ("one,bogus=1", "option bogus=1 invalid"),
        ("one,mode=9", "mode 9 invalid"),
        ("one,type=env,uid=5", "cannot be set with secret type env"),
        ("one,target=../../etc/passwd", 'must not contain ".."'),
        ("target=x", "no source found"),
    ],
)
def test_a_wrong_request_makes_no_container(root: ContainerRoot, option: str, message: str) -> None:
    make(root, "one", b"x")
    assert message in root.fails("create", "--secret", option, IMAGE, "true")
    assert root.ok("ps", "-aq") == ""


@pytest.mark.needs("gpg")
def test_the_pass_driver_keeps_what_only_a_key_opens(root: ContainerRoot, tmp_path: Path) -> None:
    home, store = tmp_path / "gpg", tmp_path / "store"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    try:
        words = ["--passphrase", "", "--quick-gen-key", "test@example.com", "future-default"]
        subprocess.run([*gpg, *words], check=True, capture_output=True)
        options = ("-d", "pass", "--driver-opts",
                   f"key=test@example.com,root={store},gpghomedir={home}")  # fmt: skip
        id_ = make(root, "passed", b"hunter2", *options)
        assert b"hunter2" not in (store / f"{id_}.gpg").read_bytes()
        assert root.sh("cat /run/secrets/passed", "--secret", "passed") == "hunter2"
        root.ok("secret", "rm", "passed")
        assert os.listdir(store) == []
        wrong = ("-d", "pass", "--driver-opts", f"key=nobody,root={store},gpghomedir={home}")
        assert "store secret with gpg" in root.fails(
            "secret", "create", *wrong, "x", "-", stdin=b"x"
        )
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
