"""Cgroups that systemd gives to an ordinary user; the tests of the guest run this as one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = [
    pytest.mark.needs("systemd", "cgroup2_limits", "newuidmap", "busybox"),
    pytest.mark.skipif(os.geteuid() == 0, reason="for an ordinary user"),
]


def test_a_users_systemd_limits_and_freezes_containers(pyengine_path: str, tmp_path: Path) -> None:
    root = ContainerRoot(pyengine_path, tmp_path)
    root.load_image()
    try:
        limits = ("--memory", "64m", "--pids-limit", "50")
        root.ok("run", "-d", "--name", "one", *limits, IMAGE, "sleep", "1000")
        script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
        assert root.ok("exec", "one", "sh", "-c", script).split() == ["67108864", "50"]
        found = json.loads(root.ok("inspect", "one"))[0]
        pid, id_ = found["State"]["Pid"], found["Id"]
        own = f"user@{os.getuid()}.service/user.slice/libpod-{id_}.scope"
        assert own in Path(f"/proc/{pid}/cgroup").read_text()
        root.ok("pause", "one")
        rows = json.loads(root.ok("ps", "--format", "json"))
        assert [row["State"] for row in rows] == ["paused"]
        root.ok("unpause", "one")
        usage = json.loads(root.ok("stats", "--no-stream", "--format", "json", "one"))
        assert usage[0]["pids"] == "1"
        host = json.loads(root.ok("info", "--format", "json"))["host"]
        assert host["cgroupManager"] == "systemd"
        assert {"memory", "pids"} <= set(host["cgroupControllers"])
        if "cpuset" not in host["cgroupControllers"]:
            message = root.fails("create", "--cpuset-cpus", "0", IMAGE, "true")
            assert "was not given the cgroup controllers cpuset" in message
        root.remove_everything()
        assert root.settled() == []
    finally:
        root.ok("system", "reset", "-f")
