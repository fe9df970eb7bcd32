from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyengine.containers import labels, record
from pyengine.errors import ConfigError
from pyengine.specgen import confinement, selinux

FILE = "u:object_r:files_t:s0:c1,c2"


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy with contexts of its own, and categories that come one after the other."""
    contexts = tmp_path / "mine/contexts/lxc_contexts"
    contexts.parent.mkdir(parents=True)
    contexts.write_text('# none\nprocess = "u:r:run_t:s0"\nfile = "u:object_r:files_t:s0"\n')
    (tmp_path / "config").write_text("SELINUX=enforcing\nSELINUXTYPE=mine\n")
    monkeypatch.setattr(selinux, "SETTINGS", str(tmp_path))
    numbers = iter([7, 7, 3, 1, 2, 1, 4, 5])
    monkeypatch.setattr(os, "urandom", lambda size: next(numbers).to_bytes(size, "little"))


@pytest.mark.usefixtures("policy")
def test_each_container_has_two_categories_of_its_own() -> None:
    used = {"s0:c1,c3"}  # 7 and 7 are one, 3 and 1 are another's, 2 and 1 are free
    assert selinux.choose([], used, init=False) == ("u:r:run_t:s0:c1,c2", FILE)


@pytest.mark.parametrize(("own", "expected"), [("kernel\0", False), ("u:r:t:s0\n", True)])
def test_a_kernel_without_a_policy_has_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, expected: bool
) -> None:
    (tmp_path / "current").write_text(own)
    monkeypatch.setattr(selinux, "OWN_LABEL", str(tmp_path / "current"))
    assert selinux.has_policy() is expected


@pytest.mark.usefixtures("policy")
def test_options_replace_parts_of_the_labels() -> None:
    words = ["type:mine_t", "filetype:theirs_t", "level:s1:c5", "user:me", "role:r2"]
    assert selinux.choose(words, set(), init=False) == (
        "me:r2:mine_t:s1:c5", "me:object_r:theirs_t:s1:c5"
    )  # fmt: skip
    assert selinux.choose([], set(), init=True)[0].startswith("system_u:system_r:container_init_t:")
    assert selinux.choose(["disable"], set(), init=False) == (
        "", "u:object_r:files_t:s0:c1022,c1023"
    )  # fmt: skip
    assert selinux.same("u:r:t:s0:c1,c2") == ["user:u", "role:r", "type:t", "level:s0:c1,c2"]


def test_without_a_policys_contexts_there_are_the_usual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selinux, "SETTINGS", str(tmp_path))
    process, file = selinux.choose(["level:s0"], set(), init=False)
    assert process == "system_u:system_r:container_t:s0"
    assert file == "system_u:object_r:container_file_t:s0"


@pytest.mark.parametrize(
    ("config", "disabled"),
    [({}, False), ({"privileged": True}, True), ({"namespaces": {"pid": "host"}}, True),
     ({"namespaces": {"ipc": "host"}}, True), ({"security": {"label": ["disable"]}}, True)],
)  # fmt: skip
def test_what_sees_the_host_has_no_label(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: dict[str, Any], disabled: bool
) -> None:
    class Host:
        defaults: dict[str, Any] = {}

    whole: Any = {"privileged": False, "namespaces": {}, "process": {}, "security": {}, **config}
    host: Any = Host()
    monkeypatch.setattr(selinux, "SETTINGS", str(tmp_path))
    monkeypatch.setattr(record, "every", lambda _: [])
    monkeypatch.setattr(selinux, "has_policy", lambda: True)
    labels.configure(host, whole)
    assert (whole["security"]["process_label"] == "") == disabled
    spec: dict[str, Any] = {"process": {}, "mounts": [], "linux": {}}
    confinement.change(spec, whole["security"])
    assert ("selinuxLabel" in spec["process"]) != disabled
    assert spec["linux"]["mountLabel"].startswith("system_u:object_r:container_file_t:s0:c")


def test_files_get_a_label_with_categories_or_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, str] = {}

    def take(path: str, name: str, data: bytes, *, follow_symlinks: bool) -> None:
        assert (name, data[-1:], follow_symlinks) == ("security.selinux", b"\0", False)
        given[os.path.relpath(path, tmp_path)] = data[:-1].decode()

    monkeypatch.setattr(os, "setxattr", take)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/link").symlink_to("/etc")
    (tmp_path / "a/file").write_text("x")
    selinux.relabel(str(tmp_path), FILE)
    assert given == dict.fromkeys([".", "a", "a/link", "a/file"], FILE)
    selinux.relabel(str(tmp_path / "a/file"), FILE, shared=True)
    assert given["a/file"] == "u:object_r:files_t:s0"
    with pytest.raises(ConfigError, match="SELinux relabeling of /usr is not allowed"):
        selinux.relabel("/usr", FILE)
