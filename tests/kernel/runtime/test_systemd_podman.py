"""podman with pyrun where podman's own choice is systemd: as root, and as a user without it."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import busybox_root

pytestmark = pytest.mark.needs("systemd", "podman", "busybox")

SYSTEMCTL = ["systemctl"] if os.geteuid() == 0 else ["systemctl", "--user"]


class Podman:
    """podman with stores of its own and with pyrun as its runtime."""

    def __init__(self, pyrun: str, top: Path) -> None:
        places = ["--root", f"{top}/root", "--runroot", f"{top}/runroot"]
        self.command = ["podman", *places, "--cgroup-manager", "systemd", "--runtime", pyrun]
        self.name = f"sd{uuid.uuid4().hex[:10]}"
        self.rootfs = str(busybox_root(top / "rootfs"))

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self.command, *words], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def podman(pyrun_path: str) -> Iterator[Podman]:
    with tempfile.TemporaryDirectory(prefix="sd") as top:  # podman wants a short path
        made = Podman(pyrun_path, Path(top))
        yield made
        made("rm", "--force", "--time", "0", "--ignore", made.name)
        # layers may belong to subordinate users
        unshare = [] if os.geteuid() == 0 else ["podman", "unshare"]
        subprocess.run([*unshare, "rm", "-rf", f"{top}/root", f"{top}/runroot"], check=True)


def test_podman_s_container_is_a_scope_with_its_limits(podman: Podman) -> None:
    options = ["--network", "none", "--pids-limit", "50", "--memory", "64m", "--name", podman.name]
    made = podman("run", "-d", *options, "--rootfs", podman.rootfs, "sleep", "1000")
    unit = f"libpod-{made}.scope"
    words = [*SYSTEMCTL, "show", unit, "--property=TasksMax,MemoryMax,Delegate"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    assert sorted(shown) == ["Delegate=yes", f"MemoryMax={64 << 20}", "TasksMax=50"]
    assert podman("exec", podman.name, "cat", "/proc/self/cgroup") == "0::/"
    group = podman("inspect", podman.name, "--format", "{{.State.CgroupPath}}")
    assert Path(f"/sys/fs/cgroup{group}/pids.max").read_text() == "50\n"
    podman("stop", "--time", "0", podman.name)
    podman("rm", podman.name)
    assert not os.path.exists(f"/sys/fs/cgroup{group}")
    words = [*SYSTEMCTL, "show", unit, "--property=LoadState"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    assert shown == ["LoadState=not-found"]
