"""Debian's containerd and its ``ctr`` with ``--runc-binary pyrun``."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemons import Daemon, Done

pytestmark = [pytest.mark.needs("root", "containerd", "busybox"), pytest.mark.timeout(120)]

TOP = Path(__file__).resolve().parents[2]
IMAGE = "localhost/busybox:for-pyrun"
# What this test does not use, and what looks for devices and programs that are not there.
DISABLED = (
    "grpc.v1.cri", "snapshotter.v1.aufs", "snapshotter.v1.btrfs", "snapshotter.v1.devmapper",
    "snapshotter.v1.zfs", "internal.v1.opt",
)  # fmt: skip


class Containerd(Daemon):
    """A daemon with sockets and directories of its own, and ``ctr`` to talk to it."""

    def __init__(self, directory: Path, pyrun: str) -> None:
        self.directory = directory
        self._runtime = ["--runc-binary", pyrun, "--runc-root", str(directory / "pyrun")]
        disabled = ", ".join(f'"io.containerd.{name}"' for name in DISABLED)
        (directory / "config.toml").write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
            f"disabled_plugins = [{disabled}]\n"
            f'[grpc]\naddress = "{directory}/socket"\n[ttrpc]\naddress = "{directory}/ttrpc"\n'
        )
        namespace = f"tests-{uuid.uuid4().hex[:12]}"  # and the name of a cgroup
        super().__init__(
            ["containerd", "--config", str(directory / "config.toml")],
            ready="successfully booted",
            client="ctr",
            environment={
                "CONTAINERD_ADDRESS": f"{directory}/socket",
                "CONTAINERD_NAMESPACE": namespace,
            },
            parent=namespace,
        )

    def run(self, *words: str) -> Done:
        """``ctr run`` with pyrun."""
        return self("run", "--snapshotter", "native", *self._runtime, *words)

    def start(self, *command: str) -> str:
        """A container in the background; returns its id."""
        name = f"ctr-{uuid.uuid4().hex[:12]}"
        # its streams stay open with it
        done = self.run("--detach", "--null-io", IMAGE, name, *command)
        assert done.returncode == 0, done.stderr
        return name

    def status(self, name: str) -> str:
        """As ``ctr task ls`` says it."""
        rows = [line.split() for line in self.must("task", "ls").splitlines()]
        return next((row[2] for row in rows if row[0] == name), "")

    def close(self) -> None:
        """End all containers, then the daemon; their shims end with the containers."""
        for name in self.must("task", "ls", "--quiet").split():
            self("task", "rm", "--force", name)
        for name in self.must("container", "ls", "--quiet").split():
            self("container", "rm", name)
        super().close()


@pytest.fixture(scope="module")
def ctr(tmp_path_factory: pytest.TempPathFactory, pyrun_path: str) -> Iterator[Containerd]:
    directory = tmp_path_factory.mktemp("containerd")
    archive = directory / "image.tar"
    subprocess.run([sys.executable, TOP / "tools/make-image", archive, IMAGE], check=True)
    made = Containerd(directory, pyrun_path)
    try:
        made.must("images", "import", "--snapshotter", "native", str(archive))
        yield made
    finally:
        made.close()


@pytest.fixture
def sleeper(ctr: Containerd) -> Iterator[str]:
    """A container that runs until it is killed."""
    name = ctr.start("sleep", "1000")
    yield name
    ctr("task", "rm", "--force", name)
    ctr("container", "rm", name)


def test_run_has_output_and_exit_status(ctr: Containerd) -> None:
    done = ctr.run("--rm", IMAGE, "run-once", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.returncode) == ("out\n", 7)
    assert "err" in done.stderr.splitlines()


def test_run_of_a_missing_program_is_told(ctr: Containerd) -> None:
    done = ctr.run("--rm", IMAGE, "run-missing", "no-such-program")
    assert done.returncode != 0
    assert 'exec: "no-such-program": executable file not found in $PATH' in done.stderr


def test_run_with_limits_and_a_read_only_root(ctr: Containerd) -> None:
    words = ["--rm", "--read-only", "--memory-limit", str(64 << 20), "--cpus", "0.5", IMAGE]
    done = ctr.run(*words, "run-limits", "sh", "-c", "touch /x 2>&1; cat /proc/self/cgroup")
    assert "Read-only file system" in done.stdout, done.stderr
    assert done.returncode == 0


def test_exec_runs_beside_init_and_has_a_status(ctr: Containerd, sleeper: str) -> None:
    words = [
        "task",
        "exec",
        "--exec-id",
        "probe",
        sleeper,
        "sh",
        "-c",
        "ps | grep -c sleep; exit 3",
    ]
    done = ctr(*words)
    assert (done.returncode, int(done.stdout) >= 1) == (3, True), done.stderr


def test_ps_lists_the_processes(ctr: Containerd, sleeper: str) -> None:
    rows = ctr.must("task", "ps", sleeper).splitlines()
    pid = next(line.split()[1] for line in ctr.must("task", "ls").splitlines() if sleeper in line)
    assert [row.split()[0] for row in rows] == ["PID", pid]


def test_pause_and_resume(ctr: Containerd, sleeper: str) -> None:
    ctr.must("task", "pause", sleeper)
    assert ctr.status(sleeper) == "PAUSED"
    ctr.must("task", "resume", sleeper)
    assert ctr.status(sleeper) == "RUNNING"


@pytest.mark.needs("cgroup_pids")
def test_metrics_are_those_of_its_cgroup(ctr: Containerd, sleeper: str) -> None:
    found = dict(
        line.split(maxsplit=1)
        for line in ctr.must("task", "metrics", sleeper).splitlines()
        if "." in line.split(" ")[0]
    )
    assert found["pids.current"].strip() == "1"
    assert int(found["memory.usage_in_bytes"]) > 0


def test_kill_and_rm_end_it(ctr: Containerd) -> None:
    name = ctr.start("sleep", "1000")
    assert ctr("task", "rm", name).returncode != 0  # it runs
    assert ctr.status(name) == "RUNNING"
    ctr.must("task", "kill", "--signal", "SIGKILL", name)
    done = ctr("task", "rm", "--force", name)
    assert done.returncode in (0, 137), done.stderr  # its own status
    assert ctr.status(name) == ""
    ctr.must("container", "rm", name)
    assert name not in ctr.must("container", "ls", "--quiet").split()
    assert not list((ctr.directory / "pyrun").glob(f"*/{name}"))
