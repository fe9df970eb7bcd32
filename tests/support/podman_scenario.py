"""Pausing, updating and watching a container with podman, told as JSON.

usage: podman_scenario.py IMAGE PODMAN [OPTION...]

A program of its own, because for crun the whole of it runs in a private mount namespace.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

IMAGE, PODMAN = sys.argv[1], sys.argv[2:]
NAME = "watched"
LIMITS = ["--memory", "64m", "--cpu-shares", "512", "--cpus", "0.5"]
FILES = "memory/memory.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us"


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PODMAN, *words], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def told(*words: str) -> list[Any]:
    """Exit code and output; what it complains about is only told apart from nothing."""
    done = call(*words)
    return [done.returncode, done.stdout, bool(done.stderr)]


def state() -> str:
    return call("inspect", "--format", "{{.State.Status}}", NAME).stdout.strip()


def limits() -> list[Any]:
    paths = " ".join(f"/sys/fs/cgroup/{name}" for name in FILES.split())
    return told("exec", NAME, "sh", "-c", f"cat {paths}")


def scenario() -> dict[str, Any]:
    run = ["run", "-d", "--network", "none", "--name", NAME, IMAGE]
    result: dict[str, Any] = {"run": call(*run, "sleep", "1000").returncode}
    result["pause"] = call("pause", NAME).returncode
    result["paused"] = state()
    result["exec while paused"] = call("exec", NAME, "true").returncode
    result["pause again"] = call("pause", NAME).returncode
    result["unpause"] = call("unpause", NAME).returncode
    result["unpaused"] = state()
    result["unpause again"] = call("unpause", NAME).returncode
    result["update"] = call("update", *LIMITS, NAME).returncode
    result["limits"] = limits()
    result["update refused"] = call("update", "--cpuset-cpus", "4000", NAME).returncode
    result["limits afterwards"] = limits()
    result["top"] = told("top", NAME, "pid", "args")
    stats = json.loads(call("stats", "--no-stream", "--format", "json", NAME).stdout or "[{}]")[0]
    result["stats"] = [sorted(stats), stats.get("name"), stats.get("pids")]
    result["memory of stats"] = stats.get("mem_usage", "").partition(" / ")[2]
    result["pause before rm"] = call("pause", NAME).returncode
    result["rm"] = call("rm", "--force", "--time", "0", NAME).returncode
    result["left"] = call("ps", "--all", "--quiet").stdout
    return result


try:
    print(json.dumps(scenario(), indent=1))
finally:
    call("rm", "--force", "--time", "0", NAME)
