"""``[containers]`` of containers.conf becomes the options that the user did not give."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pyengine.cli import quick, run
from pyengine.config import containers_conf
from pyengine.containers.configure import configure
from pyengine.containers.configuring import defaults
from pyengine.errors import ConfigError
from pyengine.specgen.types import ContainerConfig


def completed(table: dict[str, Any], *words: str) -> ContainerConfig:
    values = quick.Call(["create", *words, "image", "true"]).values
    options = run.make_options(table, **values)
    defaults.apply(options, table)
    return configure(options, "0123", "image", {"Env": ["OF=image"]})


def test_a_key_counts_where_the_user_said_nothing() -> None:
    table = {
        "umask": "0077", "init": True, "init_path": "/bin/true", "pids_limit": 7, "tz": "local",
        "pidns": "private", "utsns": "host", "annotations": ["a=conf", "b=conf"],
        "default_ulimits": ["nofile=1:2", "core=3"], "env": ["OF=conf", "ONLY=conf"],
        "default_sysctls": ["net.ipv4.ping_group_range=0 0"], "keyring": False, "no_hosts": True,
        "default_capabilities": ["CHOWN", "CAP_KILL"], "seccomp_profile": "/profile",
    }  # fmt: skip
    found = completed(table, "--annotation", "b=user", "--ulimit", "core=4")
    assert found["process"]["umask"] == 0o077
    assert found["process"]["init_path"] == "/bin/true"
    assert found["resources"]["pids_limit"] == 7
    assert found["resources"]["ulimits"] == {"RLIMIT_NOFILE": (1, 2), "RLIMIT_CORE": (4, 4)}
    assert found["names"] == {"annotations": {"a": "conf", "b": "user"}, "no_hosts": True}
    assert found["namespaces"] == {"pid": "private", "uts": "host"}
    assert found["env"] == ["OF=conf", "ONLY=conf", "OF=image"]
    assert found["sysctls"] == {"net.ipv4.ping_group_range": "0 0"}
    assert found["default_capabilities"] == ["CHOWN", "KILL"]
    assert found["seccomp"] == "/profile"
    assert found["no_keyring"]


def test_the_user_wins_also_by_saying_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy")
    monkeypatch.setenv("SEEN", "yes")
    table = {
        "init": True, "read_only": True, "no_hosts": True, "privileged": True, "umask": "0077",
        "http_proxy": True, "env_host": True, "seccomp_profile": "/profile",
        "default_sysctls": ["net.x=1", "kernel.sem=1"],
    }  # fmt: skip
    found = completed(
        table, "--init=false", "--read-only=false", "--no-hosts=false", "--privileged=false",
        "--umask", "0011", "--http-proxy=false", "--env-host=0", "--network", "host",
        "--security-opt", "seccomp=unconfined",
    )  # fmt: skip
    assert found["process"] == {"umask": 0o011}
    assert found["names"] == {}
    assert not found["read_only"]
    assert not found["privileged"]
    assert found["env"] == ["OF=image"]
    assert found["seccomp"] == "unconfined"
    assert found["sysctls"] == {"kernel.sem": "1"}
    assert "SEEN=yes" in completed({"env_host": True})["env"]
    assert "http_proxy=proxy" in completed({})["env"]
    assert "http_proxy=proxy" not in completed({"http_proxy": False})["env"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("init", "yes"), ("umask", 22), ("pids_limit", True), ("env", "A=1"), ("devices", [1]),
     ("default_capabilities", ["NOSUCH"]), ("default_sysctls", ["x"]),
     ("host_containers_internal_ip", "host")],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(key)):
        completed({key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [("nosuch", 1), ("prepare_volume_on_create", True),
     ("interface_name", "eth7"), ("apparmor_profile", "nosuch-profile")],
)  # fmt: skip
def test_a_key_that_is_not_honoured_is_a_warning(
    key: str, value: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyengine.containers.configuring import security

    def refuse(profile: str) -> str:
        raise ConfigError(profile)

    monkeypatch.setattr(security, "apparmor", refuse)
    completed({key: value})
    assert f"containers.{key} is not honoured" in capsys.readouterr().err


def test_a_user_namespace_counts_where_no_option_asks_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(mode: str, *words: str) -> tuple[str, int]:
        values = quick.Call(["create", *words, "image"]).values
        options = run.make_options({}, **values)
        defaults.apply(options, {"userns": mode, "userns_size": 5})
        return options.userns, options.userns_size

    monkeypatch.delenv("PODMAN_USERNS", raising=False)
    assert asked("auto") == ("auto", 5)
    assert asked("auto", "--uidmap", "0:1")[0] == ""
    assert asked("auto", "--userns", "host")[0] == "host"
    assert asked("private")[0] == ""
    monkeypatch.setenv("PODMAN_USERNS", "auto:size=3")
    assert asked("host")[0] == "auto:size=3"
    assert asked("host", "--uidmap", "0:1")[0] == ""


def test_later_files_override_keys_merge_tables_and_append_to_lists() -> None:
    table: dict[str, Any] = {}
    for values in (
        {"env": ["A=1"], "runtimes": {"a": ["/a"], "b": ["/b"]}, "devices": ["/x"]},
        {"env": ["B=2", {"append": True}], "runtimes": {"b": ["/c"]}, "devices": ["/y"]},
        {"devices": ["/z", {"append": False}]},
    ):
        containers_conf._merge(table, values)
    assert table == {
        "env": ["A=1", "B=2"], "runtimes": {"a": ["/a"], "b": ["/c"]}, "devices": ["/z"]
    }  # fmt: skip
