"""Debian's dockerd with pyrun as a runtime, beside runc: what ``docker`` says and returns."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import busybox_root
from support.daemons import Daemon

pytestmark = [
    pytest.mark.needs("root", "dockerd", "docker", "runc", "busybox"),
    pytest.mark.timeout(180),
]


class Docker(Daemon):
    """A daemon with sockets and directories of its own; no networks, no firewall."""

    def __init__(self, directory: Path, pyrun: str) -> None:
        self.socket = f"unix://{directory}/socket"
        self.parent = f"docker-{uuid.uuid4().hex[:12]}"
        options = {
            "data-root": directory / "data", "exec-root": directory / "exec",
            "pidfile": directory / "pid", "host": self.socket, "cgroup-parent": f"/{self.parent}",
            "exec-opt": "native.cgroupdriver=cgroupfs", "storage-driver": "vfs", "bridge": "none",
            "add-runtime": f"pyrun={pyrun}", "iptables": "false", "ip-masq": "false",
            "ip-forward": "false", "userland-proxy": "false",
        }  # fmt: skip
        super().__init__(
            ["dockerd", *(f"--{name}={value}" for name, value in options.items())],
            ready="API listen on",
            client="docker",
            environment={"DOCKER_HOST": self.socket},
        )

    def close(self) -> None:
        """Remove all containers, then end the daemon and what it leaves of cgroups."""
        for name in self.must("ps", "--all", "--quiet").split():
            self("rm", "--force", name)
        super().close()
        for folder, folders, _ in os.walk("/sys/fs/cgroup"):
            if self.parent in folders:
                os.rmdir(os.path.join(folder, self.parent))
                folders.remove(self.parent)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, pyrun_path: str) -> Iterator[Docker]:
    directory = tmp_path_factory.mktemp("dockerd")
    archive = directory / "image.tar"
    root = busybox_root(directory / "image")
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
    made = Docker(directory, pyrun_path)
    try:
        made.must("import", str(archive), "busybox")
        yield made
    finally:
        made.close()


def run(runtime: str, *words: str) -> list[str]:
    return ["run", "--rm", "--network=none", f"--runtime={runtime}", *words]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["busybox", "sh", "-c", "echo out; exit 9"], 9),
        (["--user=1000", "--read-only", "--memory=64m", "busybox", "sh", "-c", "id -u"], 0),
        (["--no-such-option", "busybox", "true"], 125),
        (["busybox", "/bin"], 126),
        (["busybox", "no-such-program"], 127),
        (["--workdir=/made", "busybox", "pwd"], 0),
    ],
)
def test_run_returns_what_it_returns_with_runc(
    docker: Docker, words: list[str], status: int
) -> None:
    ours, theirs = docker(*run("pyrun", *words)), docker(*run("runc", *words))
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), ours.stderr
    assert ours.returncode == status


def test_exec_pause_kill_and_rm_work_as_with_runc(docker: Docker) -> None:
    seen = []
    for runtime in ("pyrun", "runc"):
        name = docker.must(*run(runtime, "-d", "busybox", "sleep", "1000"))
        state = ["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name]
        statuses = [
            docker("exec", name, *command).returncode
            for command in (["sh", "-c", "exit 3"], ["no-such-program"], ["/bin"])
        ]
        docker.must("pause", name)
        states = [docker.must(*state)]
        docker.must("unpause", name)
        states += [docker.must(*state)]
        stopper = docker.must("run", "-d", "--network=none", f"--runtime={runtime}", "busybox",
                              "sleep", "1000")  # fmt: skip
        docker.must("kill", stopper)
        status = docker.must("wait", stopper)
        docker.must("rm", stopper)
        docker.must("rm", "--force", name)
        seen.append((statuses, states, status, docker.must("ps", "--all", "--quiet")))
    assert seen[0] == seen[1]
    assert seen[0] == ([3, seen[1][0][1], seen[1][0][2]], ["paused 0", "running 0"], "137", "")
