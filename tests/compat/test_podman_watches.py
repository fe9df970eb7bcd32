"""podman's pause, unpause, update, top and stats: the same with pyrun and crun."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import machine
from support.bundle import busybox_root

SCENARIO = Path(__file__).parents[1] / "support/podman_scenario.py"
IMAGE = "localhost/busybox-to-watch"
# The test machine may not raise hard limits, which podman's defaults do.
CONTAINERS_CONF = '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]\n'
pytestmark = [
    pytest.mark.needs("root", "podman", "busybox", "cgroup_memory", "cgroup_cpu", "cgroup_pids"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """podman with an image in a storage of its own."""
    directory = tmp_path_factory.mktemp("podman")
    (directory / "containers.conf").write_text(CONTAINERS_CONF)
    words = [
        "env", f"CONTAINERS_CONF={directory}/containers.conf", "podman", "--storage-driver", "vfs",
        "--root", f"{directory}/root", "--runroot", f"{directory}/run", "--tmpdir",
        f"{directory}/tmp", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
    ]  # fmt: skip
    root = busybox_root(directory / "image")
    subprocess.run(["tar", "-C", str(root), "-cf", str(directory / "image.tar"), "."], check=True)
    imported = [*words, "import", str(directory / "image.tar"), IMAGE]
    subprocess.run(imported, check=True, capture_output=True)
    yield words
    subprocess.run([*words, "rmi", "--all", "--force"], check=True, capture_output=True)


def scenario(podman: list[str], runtime: str, layout: str) -> dict[str, Any]:
    command = [sys.executable, str(SCENARIO), IMAGE, *podman, "--runtime", runtime]
    done = subprocess.run(
        machine.with_cgroup_layout(layout, command), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def ours(podman: list[str], pyrun_path: str) -> dict[str, Any]:
    return scenario(podman, pyrun_path, "host")


def test_a_container_is_paused_updated_and_watched(ours: dict[str, Any]) -> None:
    assert (ours["pause"], ours["paused"], ours["unpaused"]) == (0, "paused", "running")
    assert (ours["update"], ours["limits"]) == (0, [0, "67108864\n512\n50000\n", False])
    assert ours["limits afterwards"] == ours["limits"]
    assert ours["update refused"] != 0
    assert (ours["top"][0], ours["stats"][1:]) == (0, ["watched", "1"])
    assert (ours["rm"], ours["left"]) == (0, "")


@pytest.mark.needs("crun", "hybrid")
def test_it_is_the_same_with_crun(podman: list[str], ours: dict[str, Any]) -> None:
    assert scenario(podman, shutil.which("crun") or "", "v1") == ours
