"""Debian's dockerd with pyrun as a runtime, beside runc: what ``docker`` says and returns."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.bundle import busybox_root
from support.daemons import Daemon
from support.engine import EngineRoot
from support.registry import debian_registry

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
            parent=self.parent,
        )

    def close(self) -> None:
        """Remove all containers, then end the daemon and what it leaves of cgroups."""
        for name in self.must("ps", "--all", "--quiet").split():
            self("rm", "--force", name)
        super().close()


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


@pytest.mark.needs("skopeo")
def test_images_go_into_the_daemon_and_out_of_it_with_their_ids(
    docker: Docker, pyengine_path: str, tmp_path: Path
) -> None:
    image = images.busybox_image(Labels={"for": "tests"})
    archive = images.oci_archive(tmp_path / "a.tar", {"localhost/app:1": image})
    root = EngineRoot(pyengine_path, tmp_path)
    root.ok("load", "-i", archive)
    copy = ["skopeo", "copy", "-q"]
    host = f"--dest-daemon-host={docker.socket}"
    root.ok(*copy, host, f"oci-archive:{archive}", "docker-daemon:app:1")
    assert docker.must("image", "inspect", "--format", "{{.Id}}", "app:1") == f"sha256:{image.id}"
    assert docker.must("run", "--rm", "--network=none", "app:1", "echo", "in docker") == "in docker"
    # and what docker has made comes here
    docker.must("tag", "app:1", "example.com/second:2")
    root.ok(*copy, f"--src-daemon-host={docker.socket}", "docker-daemon:example.com/second:2",
            "containers-storage:example.com/second:2")  # fmt: skip
    assert root.ok("images", "-q", "--no-trunc", "second").strip() == f"sha256:{image.id}"
    shown = root.ok("skopeo", "inspect", f"--daemon-host={docker.socket}", "--config", "--raw",
                    f"docker-daemon:sha256:{image.id}")  # fmt: skip
    assert shown.encode() == image.config
    # podman's words for the same, with docker's own variable
    environment = {**os.environ, "DOCKER_HOST": docker.socket}
    for words in (["push", "-q", "app:1", "docker-daemon:third:3"],
                  ["pull", "-q", "docker-daemon:third:3"]):  # fmt: skip
        subprocess.run(root.argv(*words), env=environment, check=True, capture_output=True)
    assert docker.must("images", "-q", "--no-trunc", "third:3") == f"sha256:{image.id}"
    # docker's archives, both ways
    docker.must("save", "-o", f"{tmp_path}/saved.tar", "third:3")
    assert root.ok("load", "-i", tmp_path / "saved.tar") == "Loaded image: localhost/third:3\n"
    root.ok("save", "-o", tmp_path / "ours.tar", "localhost/third:3")
    docker.must("rmi", "--force", f"sha256:{image.id}")
    docker.must("load", "-i", f"{tmp_path}/ours.tar")
    wanted = ["images", "-q", "--no-trunc", "localhost/third:3"]
    assert docker.must(*wanted) == f"sha256:{image.id}"
    for words, problem in (
        (
            [f"--src-daemon-host={docker.socket}", "docker-daemon:none:1", "dir:/tmp/x"],
            "does not exist",
        ),
        (["--src-daemon-host=unix:///none", "docker-daemon:app:1", "dir:/tmp/x"], "No such file"),
        (["--src-daemon-host=/none", "docker-daemon:app:1", "dir:/tmp/x"], "begins with unix://"),
        ([host, f"oci-archive:{archive}", f"docker-daemon:sha256:{image.id}"], "gets a name"),
    ):
        said = root.fails(*copy, *words, status=1)
        assert problem in said, said


@pytest.mark.needs("docker-registry", "skopeo")
def test_what_docker_pushes_is_pulled_and_comes_back_to_docker(
    docker: Docker, pyengine_path: str, tmp_path: Path
) -> None:
    image = images.busybox_image(Labels={"for": "registry"})
    archive = images.docker_archive(tmp_path / "a.tar", {"push:1": image})
    root = EngineRoot(pyengine_path, tmp_path)
    with debian_registry(tmp_path) as host:
        docker.must("load", "-i", str(archive))
        docker.must("tag", "push:1", f"{host}/docker:1")
        said = docker.must("push", f"{host}/docker:1")
        digest = said.rpartition("digest: ")[2].split()[0]
        assert root.ok("pull", "-q", f"{host}/docker:1").strip() == image.id
        assert root.images()[0]["RepoDigests"] == [f"{host}/docker@{digest}"]
        for form, name in ((None, "same"), ("oci", "oci")):
            words = ["--format", form] if form else []
            there = f"{host}/{name}:1"
            root.ok("push", "-q", *words, "--digestfile", tmp_path / "digest", image.id, there)
            docker.must("rmi", "--force", f"sha256:{image.id}")
            docker.must("pull", "-q", there)
            inspect = ["image", "inspect", "--format", "{{.Id}} {{index .RepoDigests 0}}", there]
            pushed = (tmp_path / "digest").read_text()
            assert docker.must(*inspect) == f"sha256:{image.id} {host}/{name}@{pushed}"
            assert (pushed == digest) is (form is None)
        docker.must("rmi", "--force", f"sha256:{image.id}")


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
