"""Debian's podman and buildah with ``--runtime pyrun``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import busybox_root

pytestmark = [pytest.mark.needs("root", "podman", "busybox"), pytest.mark.timeout(180)]

# The test machine may not raise hard limits, which podman's defaults do.
CONTAINERS_CONF = '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]\n'
IMAGE = "localhost/busybox-for-pyrun"
RUN = ("run", "--network", "none", "--rm")
Done = subprocess.CompletedProcess[str]


class Podman:
    """podman with a storage of its own and pyrun as its runtime."""

    def __init__(self, directory: Path, pyrun: str) -> None:
        self.directory = directory
        self._pyrun = pyrun
        (directory / "containers.conf").write_text(CONTAINERS_CONF)

    def storage(self) -> list[str]:
        root, run = f"{self.directory}/root", f"{self.directory}/run"
        return ["--root", root, "--runroot", run, "--storage-driver", "vfs"]

    def run(self, words: list[str]) -> Done:
        environment = {**os.environ, "CONTAINERS_CONF": str(self.directory / "containers.conf")}
        return subprocess.run(
            words, env=environment, check=False, capture_output=True, text=True, timeout=90,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def __call__(self, *words: str) -> Done:
        options = ["--tmpdir", f"{self.directory}/tmp", "--cgroup-manager", "cgroupfs"]
        options += ["--events-backend", "file", "--runtime", self._pyrun]
        return self.run(["podman", *self.storage(), *options, *words])

    def build(self, *words: str) -> Done:
        options = ["--isolation", "oci", "--runtime", self._pyrun, "--network", "none"]
        return self.run(["buildah", *self.storage(), "build", *options, *words])


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory, pyrun_path: str) -> Iterator[Podman]:
    directory = tmp_path_factory.mktemp("podman")
    made = Podman(directory, pyrun_path)
    root = busybox_root(directory / "image")
    subprocess.run(["tar", "-C", str(root), "-cf", str(directory / "image.tar"), "."], check=True)
    done = made("import", str(directory / "image.tar"), IMAGE)
    assert done.returncode == 0, done.stderr
    yield made
    made("rm", "--all", "--force", "--time", "0")
    made("rmi", "--all", "--force")


def test_run_gives_output_and_exit_status(podman: Podman) -> None:
    done = podman(*RUN, IMAGE, "sh", "-c", "echo out; grep Seccomp: /proc/self/status; exit 5")
    assert (done.returncode, done.stdout.split()) == (5, ["out", "Seccomp:", "2"]), done.stderr


@pytest.mark.parametrize(("program", "status"), [("nosuch", 127), ("/etc", 126)])
def test_what_cannot_be_executed(podman: Podman, program: str, status: int) -> None:
    assert podman(*RUN, IMAGE, program).returncode == status


def test_terminal(podman: Podman) -> None:
    done = podman(*RUN, "-t", IMAGE, "sh", "-c", "tty; exit 3")
    assert (done.returncode, done.stdout.split()) == (3, ["/dev/pts/0"]), done.stderr


def test_user_namespace(podman: Podman) -> None:
    maps = ["--uidmap", "0:200000:2000", "--gidmap", "0:200000:2000"]
    done = podman(*RUN, *maps, IMAGE, "sh", "-c", "id -u; cat /proc/self/uid_map")
    assert done.stdout.split() == ["0", "0", "200000", "2000"], done.stderr


def test_limits_mounts_and_read_only_root(podman: Podman, tmp_path: Path) -> None:
    options = ["--read-only", "--pids-limit", "33", "--memory", "50m", "--tmpfs", "/t:size=1m"]
    options += ["-v", f"{tmp_path}:/v:ro"]
    script = "touch /x /v/x 2>/dev/null; touch /t/x && echo made; cat /sys/fs/cgroup/pids/pids.max"
    done = podman(*RUN, *options, IMAGE, "sh", "-c", f"{script} 2>/dev/null; true")
    assert done.stdout.split()[0] == "made", done.stderr
    assert done.stdout.split()[1:] in (["33"], [])
    assert list(tmp_path.iterdir()) == []


def test_exec_stop_and_remove(podman: Podman) -> None:
    name = f"pyrun-{os.getpid()}"
    assert podman("run", "-d", "--network", "none", "--name", name, IMAGE, "sleep", "1000")
    done = podman("exec", name, "sh", "-c", "echo in; exit 6")
    assert (done.returncode, done.stdout) == (6, "in\n"), done.stderr
    assert podman("exec", name, "nosuch").returncode == 127
    assert podman("kill", "--signal", "KILL", name).returncode == 0
    assert podman("wait", name).stdout.strip() == "137"
    assert podman("rm", name).returncode == 0


@pytest.mark.needs("buildah")
def test_buildah_runs_a_build_step(podman: Podman) -> None:
    file = podman.directory / "Containerfile"
    file.write_text(f"FROM {IMAGE}\nRUN echo built >/result && cat /result\n")
    done = podman.build("-t", "localhost/built", "-f", str(file), str(podman.directory))
    assert done.returncode == 0, done.stderr
    assert "built" in done.stdout
    assert podman(*RUN, "localhost/built", "cat", "/result").stdout == "built\n"
