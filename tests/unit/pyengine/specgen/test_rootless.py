from __future__ import annotations

from typing import Any

import pytest

from pyengine.errors import ConfigError
from pyengine.specgen import rootless
from support.configured import configured


@pytest.fixture(autouse=True)
def no_delegation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootless, "_group_map", lambda: [[0, 1000, 1]])
    monkeypatch.setattr(rootless, "_denies_setgroups", lambda: True)
    monkeypatch.setattr(rootless, "delegated", lambda *_, **__: ["memory", "pids"])
    monkeypatch.setattr(rootless, "is_v2", lambda: True)


def spec(path: str) -> dict[str, Any]:
    pts = {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["gid=5"]}
    return {
        "process": {"user": {"uid": 0, "gid": 0, "additionalGids": [7]}},
        "mounts": [pts],
        "linux": {
            "cgroupsPath": path,
            "resources": {"devices": [{"allow": False}], "pids": {"limit": 2048}},
            "devices": [{"path": "/dev/null"}, {"path": "/dev/full"}, {"path": "/dev/zed"}],
        },
    }


def test_without_systemd_there_is_no_cgroup_and_one_id_has_no_groups() -> None:
    found = spec("/libpod_parent/libpod-1")
    found["linux"]["devices"].pop()
    rootless.change(found, configured("--name x"), {}, systemd=False)
    assert found["linux"] == {"resources": {}}
    assert found["mounts"][0]["options"] == []
    assert found["process"]["user"] == {"uid": 0, "gid": 0}


def test_a_users_systemd_has_another_slice() -> None:
    found = spec("machine.slice:libpod:1")
    sources = {"/dev/zed": "/dev/null"}
    rootless.change(found, configured("--name x"), sources, systemd=True)
    assert found["linux"] == {
        "cgroupsPath": "user.slice:libpod:1",
        "resources": {"pids": {"limit": 2048}},
    }
    assert [(one["source"], one["destination"]) for one in found["mounts"][1:]] == [
        ("/dev/null", "/dev/zed")
    ]


def test_limits_need_what_somebody_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    rootless.check_limits({"memory_limit_bytes": 1, "pids_limit": 5}, systemd=True)
    rootless.check_limits({"cpu_shares": 5}, systemd=False)  # the runtime knows
    rootless.check_limits({"ulimits": {}, "oom_score_adj": 5}, systemd=True)
    with pytest.raises(ConfigError, match="not given the cgroup controllers cpu cpuset: let root"):
        rootless.check_limits({"cpu_shares": 5, "cpuset_cpus": "0"}, systemd=True)
    monkeypatch.setattr(rootless, "is_v2", lambda: False)
    rootless.check_limits({"pids_limit": -1}, systemd=False)
    with pytest.raises(ConfigError, match="not supported on cgroups V1 rootless systems"):
        rootless.check_limits({"cpu_shares": 5}, systemd=False)
