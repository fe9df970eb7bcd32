"""``podman container checkpoint`` and ``restore`` with pyrun, under conmon and under pyconmon."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.bundle import busybox_root

pytestmark = [
    pytest.mark.needs("root", "busybox", "podman", "conmon", "criu"),
    pytest.mark.timeout(300),
]
Podman = Callable[..., str]


@pytest.fixture(params=["conmon", "pyconmon"])
def podman(request: pytest.FixtureRequest, pyrun_path: str, pyconmon_path: str) -> Iterator[Podman]:
    monitor = [] if request.param == "conmon" else ["--conmon", pyconmon_path]
    with tempfile.TemporaryDirectory(prefix="cr") as top:  # podman wants a short path
        busybox_root(Path(top) / "rootfs")
        places = ["--root", f"{top}/root", "--runroot", f"{top}/runroot"]
        settings = [*places, *monitor, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]

        def call(*words: str) -> str:
            command = ["podman", *settings, "--runtime", pyrun_path, *words]
            done = subprocess.run(
                [word.replace("TOP", top) for word in command],
                check=False, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        yield call
        call("rm", "--force", "--time", "0", "--all")


def test_podman_checkpoints_and_restores_a_container(podman: Podman) -> None:
    name = f"cr{uuid.uuid4().hex[:10]}"
    script = "read a </proc/sys/kernel/random/uuid; echo $a; while [ ! -e /tmp/go ]; do sleep .1;"
    script += " done; echo $a; exit 9"
    options = ["--network", "none", "--name", name, "--rootfs", "TOP/rootfs"]
    podman("run", "-d", *options, "sh", "-c", script)
    podman("container", "checkpoint", "--keep", name)
    shown = "{{.State.Checkpointed}} {{.State.Running}}"
    assert podman("inspect", "--format", shown, name) == "true false"
    podman("container", "restore", name)
    assert podman("inspect", "--format", shown, name) == "false true"
    podman("exec", name, "touch", "/tmp/go")
    assert podman("wait", name) == "9"
    before, after = podman("logs", name).splitlines()
    assert before == after
