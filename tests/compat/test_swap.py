"""Every runtime with every monitor and engine tells the same story of a container's life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import images, machine
from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")

SCENARIO = Path(__file__).resolve().parents[1] / "support/swap_scenario.py"
ENGINE_PAIRS = [
    pytest.param(runtime, monitor, marks=pytest.mark.needs(*{runtime, monitor} - OURS))
    for OURS in [{"pyrun", "pyconmon"}]
    for runtime in ("pyrun", "crun", "runc")
    for monitor in ("pyconmon", "conmon")
]

# What podman 4.3.1 with runc and conmon tells.
STORY: dict[str, Any] = {
    "streams": [3, "out\n", "err\n"],
    "stdin": [0, "through\n", ""],
    "terminal": [4, "/dev/pts/0\r\n", ""],
    "environment": [0, "b /\n/tmp\n1000\n1000\n", ""],
    "confinement": [
        1,
        "NoNewPrivs:\t0\nSeccomp:\t2\nlo\n",
        "sh: can't create /proc/sys/kernel/hostname: Read-only file system\n",
    ],
    "read only": [0, "", "touch: /x: Read-only file system\n"],
    "not found": [127, "", "Error: ..."],
    "not executable": [126, "", "Error: ..."],
    "detached": 0,
    "logs": [0, "one\n", "two\n"],
    "up": [[["d"], "running", 0, ["sh"]]],
    "exec": [7, "in\n", "e\n"],
    "exec not found": [127, "", "Error: ..."],
    "rm refused": 2,
    "stopped": [0, "d\n", ""],
    "code": [0, "5\n", ""],
    "down": [[["d"], "exited", 5, ["sh"]]],
    "started": [0, "d\n", ""],
    "killed": [0, "d\n", ""],
    "killed code": [0, "137\n", ""],
    "removed": 0,
    "nothing left": [],
}


def play(engine: list[str], runtime: str, environment: dict[str, str]) -> dict[str, Any]:
    """The scenario's story; crun refuses hybrid cgroups, so it gets a view of v1 alone."""
    command = [sys.executable, str(SCENARIO), IMAGE, *engine]
    layout = "v1" if runtime == "crun" and not machine.missing("hybrid") else "host"
    done = subprocess.run(
        machine.with_cgroup_layout(layout, command),
        capture_output=True,
        check=False,
        timeout=100,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr.decode()
    story: dict[str, Any] = json.loads(done.stdout)
    return story


@pytest.fixture
def paths(pyrun_path: str, pyconmon_path: str) -> dict[str, str]:
    return {"pyrun": pyrun_path, "pyconmon": pyconmon_path}


@pytest.mark.parametrize(("runtime", "monitor"), ENGINE_PAIRS)
def test_pyengine_with_any_runtime_and_monitor(
    pyengine_path: str, paths: dict[str, str], tmp_path: Path, runtime: str, monitor: str
) -> None:
    programs = ("--runtime", paths.get(runtime, runtime), "--conmon", paths.get(monitor, monitor))
    root = ContainerRoot(pyengine_path, tmp_path, programs)
    root.load_image()
    story = play(root.argv(), runtime, {})
    assert story == STORY
    assert root.settled() == []


@pytest.mark.needs("podman")
@pytest.mark.parametrize(
    ("runtime", "monitor"), [("pyrun", "conmon"), ("runc", "pyconmon"), ("pyrun", "pyconmon")]
)
def test_podman_with_our_runtime_and_monitor(
    paths: dict[str, str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    runtime: str,
    monitor: str,
) -> None:
    short_path = tmp_path_factory.mktemp("p")  # podman's runroot may have 50 characters
    # No more than this process may set: podman asks for what only CAP_SYS_RESOURCE allows.
    limits = '[containers]\ndefault_ulimits = ["nofile=1024:4096","nproc=1024:4096"]\n'
    (tmp_path / "containers.conf").write_text(limits)
    environment = {"CONTAINERS_CONF": str(tmp_path / "containers.conf")}
    engine = [
        "podman", "--root", str(tmp_path / "root"), "--runroot", str(short_path),
        "--tmpdir", str(tmp_path / "tmp"), "--cgroup-manager", "cgroupfs", "--log-level", "error",
        "--runtime", paths.get(runtime, runtime),
        "--conmon", paths.get(monitor, f"/usr/bin/{monitor}"),
    ]  # fmt: skip
    archive = images.oci_archive(tmp_path / "box.tar", {IMAGE: images.busybox_image()})
    try:
        loaded = subprocess.run(
            [*engine, "load", "-q", "-i", archive],
            check=False,
            capture_output=True,
            env={**os.environ, **environment},
        )
        assert loaded.returncode == 0, loaded.stderr.decode()
        story = play(engine, runtime, environment)
        assert story == STORY
    finally:
        subprocess.run([*engine, "rm", "-fa"], check=False, capture_output=True)
        subprocess.run(["umount", "-l", tmp_path / "root/overlay"], check=False,
                       capture_output=True)  # fmt: skip
