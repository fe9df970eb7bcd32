"""Annotations of crun that only change how config.json is read."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pyrun.container import extensions, init
from pyrun.errors import ConfigError
from pyrun.linux import lsm


def test_a_receiver_becomes_the_listener_of_the_profile() -> None:
    config: dict[str, Any] = {
        "annotations": {"run.oci.seccomp.receiver": "/run/a"},
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
    }
    extensions.apply(config)
    assert config["linux"]["seccomp"]["listenerPath"] == "/run/a"
    config["annotations"]["run.oci.seccomp.receiver"] = "/run/b"
    extensions.apply(config)  # the profile's own path comes first
    assert config["linux"]["seccomp"]["listenerPath"] == "/run/a"


def test_a_variable_stands_for_the_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrun.names.environment", lambda _: "/run/c")
    config: dict[str, Any] = {"linux": {"seccomp": {}}}
    extensions.apply(config)
    assert config["linux"]["seccomp"] == {}  # there is no profile
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    extensions.apply(config)
    assert config["linux"]["seccomp"]["listenerPath"] == "/run/c"


def test_the_kind_of_a_mount_label_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrun.linux.lsm.has_selinux", lambda: True)
    config = {"linux": {"mountLabel": "system_u:object_r:x:s0:c1,c2"}}
    assert init.label_option(config) == 'context="system_u:object_r:x:s0:c1,c2"'
    typed: dict[str, Any] = {**config, "annotations": {"run.oci.mount_context_type": "fscontext"}}
    assert init.label_option(typed) == 'fscontext="system_u:object_r:x:s0:c1,c2"'
    assert init.label_option({}) == ""
    typed["annotations"]["run.oci.mount_context_type"] = "other"
    with pytest.raises(ConfigError, match="is none of"):
        extensions.apply(typed)


def test_a_mount_label_is_no_mount_option_where_the_kernel_has_no_selinux(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyrun.linux.lsm.has_selinux", lambda: False)
    assert init.label_option({"linux": {"mountLabel": "system_u:object_r:x:s0:c1,c2"}}) == ""


@pytest.mark.parametrize(("own", "expected"), [("kernel\0", False), ("u:r:t:s0\n", True)])
def test_selinux_without_a_policy_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, own: str, expected: bool
) -> None:
    monkeypatch.setattr("pyrun.linux.lsm.names.exists", lambda _: True)
    monkeypatch.setattr("builtins.open", lambda *_: io.StringIO(own))
    assert lsm.has_selinux() is expected


def test_an_offset_of_a_clock_is_one_of_the_config() -> None:
    config: dict[str, Any] = {
        "annotations": {"run.oci.timens_offset": "7 -5 20"},
        "linux": {"namespaces": [{"type": "time"}], "timeOffsets": {"monotonic": {"secs": 1}}},
    }
    extensions.apply(config)
    expected = {"boottime": {"secs": -5, "nanosecs": 20}, "monotonic": {"secs": 1}}
    assert config["linux"]["timeOffsets"] == expected


@pytest.mark.parametrize(
    ("value", "kinds", "problem"),
    [
        ("realtime 1 0", ["time"], "is not a clock"),
        ("monotonic 1", ["time"], "is not a clock"),
        ("monotonic x 0", ["time"], "is not a clock"),
        ("monotonic 1 -", ["time"], "is not a clock"),
        (f"monotonic {'9' * 5000} 0", ["time"], "is not a clock"),
        ("monotonic 1 0", ["pid"], "needs a time namespace of its own"),
    ],
)
def test_an_offset_without_meaning_is_refused(value: str, kinds: list[str], problem: str) -> None:
    config: dict[str, Any] = {
        "annotations": {"run.oci.timens_offset": value},
        "linux": {"namespaces": [{"type": kind} for kind in kinds]},
    }
    with pytest.raises(ConfigError, match=problem):
        extensions.apply(config)
