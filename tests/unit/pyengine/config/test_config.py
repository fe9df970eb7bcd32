from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyengine.config import containers_conf, programs, roots
from pyengine.errors import ConfigError


def test_a_later_file_overrides_single_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.write_text('[engine]\nruntime = "runc"\nnum_locks = 1\n')
    second.write_text('[engine]\nruntime = "crun"\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(first))
    monkeypatch.setenv("CONTAINERS_CONF_OVERRIDE", str(second))
    assert containers_conf.load()["engine"] == {"runtime": "crun", "num_locks": 1}


def test_a_file_that_is_not_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[engine\n")
    monkeypatch.setenv("CONTAINERS_CONF", str(path))
    with pytest.raises(ConfigError, match=f"{path}: not TOML"):
        containers_conf.load()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[engine]\nruntime = 5\n", "engine.runtime: 5"),
        ("[engine]\nruntimes = 3\n", "engine.runtimes: 3"),
        ('[engine.runtimes]\npyrun = "x"\n', "engine.runtimes"),
        ('[engine]\nconmon_path = "x"\n', "engine.conmon_path: 'x'"),
        ('[engine]\ncgroup_manager = "x"\n', "engine.cgroup_manager: 'x'"),
        ("engine = 3\n", "engine: not a table"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, key: str
) -> None:
    path = tmp_path / "a.conf"
    path.write_text(text)
    monkeypatch.setenv("CONTAINERS_CONF", str(path))
    with pytest.raises(ConfigError, match=f"{path}: {key}"):
        containers_conf.load()


def test_a_parsed_file_is_kept_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "a.conf", tmp_path / "cache"
    monkeypatch.setenv("CONTAINERS_CONF", str(path))
    path.write_text('[engine]\nruntime = "runc"\n')
    assert containers_conf.load(str(cache)) == {"engine": {"runtime": "runc"}}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tomllib", None)  # importing it would fail
        assert containers_conf.load(str(cache)) == {"engine": {"runtime": "runc"}}
    path.write_text('[engine]\nruntime = "pyrun"\n')
    assert containers_conf.load(str(cache)) == {"engine": {"runtime": "pyrun"}}
    cache.write_text("{")
    assert containers_conf.load(str(cache)) == {"engine": {"runtime": "pyrun"}}
    path.unlink()
    with pytest.raises(ConfigError, match=f"read {path}: No such file"):
        containers_conf.load(str(cache))


def make_executable(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_a_runtime_is_found_by_path_name_and_configuration(tmp_path: Path) -> None:
    ours = make_executable(tmp_path / "pyrun")
    other = make_executable(tmp_path / "other")
    configured = {"runtimes": {"mine": ["/nowhere/mine", other]}}
    assert programs.find_runtime(None, {}, str(tmp_path)) == ours
    assert programs.find_runtime(other, {}, "/nowhere") == other
    assert programs.find_runtime("mine", configured, "/nowhere") == other
    assert programs.find_runtime(None, {"runtime": "mine", **configured}, str(tmp_path)) == other


@pytest.mark.parametrize("find", [programs.find_runtime, programs.find_monitor])
def test_a_missing_program_is_named_with_what_to_do(find: programs.Finder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/x: does not exist; correct the path"):
        find("/nowhere/x", {}, "/nowhere")
    (tmp_path / "plain").write_text("")
    with pytest.raises(ConfigError, match="is not executable"):
        find(str(tmp_path / "plain"), {}, "/nowhere")
    with pytest.raises(ConfigError, match=r"find .* no-such-program"):
        find("no-such-program", {}, "/nowhere")


def test_an_ordinary_user_keeps_everything_below_the_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/u/data")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert roots.default_root() == "/home/u/data/pyengine"
    assert roots.default_runroot() == "/run/user/1000/pyengine"


def test_without_xdg_runtime_dir_there_is_a_run_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(roots, "_is_own", lambda path: path == "/run/user/1000")
    assert roots.default_runroot() == "/run/user/1000/pyengine"
    monkeypatch.setattr(roots, "_is_own", lambda _: False)
    assert roots.default_runroot() == "/tmp/pyengine-run-1000/pyengine"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc")  # somebody else's
    assert roots.default_runroot() == "/tmp/pyengine-run-1000/pyengine"
