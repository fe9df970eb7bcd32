"""Debian's podman with conmon and with pyconmon: the user sees the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from support.machine import BUSYBOX
from support.monitors import is_running
from support.waiting import wait_for

pytestmark = [
    pytest.mark.needs("root", "podman", "runc", "conmon", "busybox"),
    # podman's clean-up runs in the background of each test's end.
    pytest.mark.timeout(180),
]

# The test machine may not raise hard limits, which podman's defaults do.
CONTAINERS_CONF = '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]\n'
APPLETS = ("sh", "cat", "echo", "sleep", "true", "stty", "seq", "head", "mkfifo", "touch")
IMAGE = "localhost/busybox-for-monitors"
PATIENCE_S = 60


class Podman:
    """podman with its own storage and one monitor."""

    def __init__(self, directory: Path, monitor: str) -> None:
        self.directory = directory
        self.monitor = monitor
        (directory / "containers.conf").write_text(CONTAINERS_CONF)
        self.environment = {**os.environ, "CONTAINERS_CONF": str(directory / "containers.conf")}

    def command(self, *arguments: str) -> list[str]:
        return [
            "podman", "--root", f"{self.directory}/root", "--runroot", f"{self.directory}/run",
            "--tmpdir", f"{self.directory}/tmp", "--storage-driver", "vfs",
            "--cgroup-manager", "cgroupfs", "--events-backend", "file",
            "--runtime", "runc", "--conmon", self.monitor, *arguments,
        ]  # fmt: skip

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, input=stdin,
            check=False, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip

    def spawn(self, *arguments: str) -> pexpect.spawn[bytes]:
        command, *rest = self.command(*arguments)
        return pexpect.spawn(
            command, rest, env=self.environment, timeout=PATIENCE_S, dimensions=(33, 111)
        )


def make_image(directory: Path) -> Path:
    root = directory / "image/bin"
    root.mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "busybox")
    for applet in APPLETS:
        (root / applet).symlink_to("busybox")
    with tarfile.open(directory / "image.tar", "w") as archive:
        archive.add(directory / "image", ".")
    return directory / "image.tar"


@pytest.fixture(scope="module", params=["pyconmon", "conmon"])
def podman(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pyconmon_path: str
) -> Iterator[Podman]:
    directory = tmp_path_factory.mktemp("podman")
    monitor = pyconmon_path if request.param == "pyconmon" else shutil.which("conmon") or ""
    made = Podman(directory, monitor)
    done = made("import", str(make_image(directory)), IMAGE)
    assert done.returncode == 0, done.stderr
    yield made
    made("rm", "--all", "--force", "--time", "0")
    made("rmi", "--all", "--force")
    made("system", "migrate")


@pytest.fixture
def name() -> str:
    return f"m{uuid.uuid4().hex[:12]}"


RUN = ("run", "--network", "none")


def test_podman_takes_the_monitor(podman: Podman) -> None:
    done = podman("info", "--format", "{{.Host.Conmon.Path}} {{.Host.Conmon.Version}}")
    assert done.stdout.startswith(f"{podman.monitor} conmon version 2.")


def test_run_shows_output_and_returns_the_exit_code(podman: Podman) -> None:
    done = podman(*RUN, "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 5)


def test_run_passes_standard_input(podman: Podman) -> None:
    text = "".join(f"{number}\n" for number in range(20000))
    assert podman(*RUN, "--rm", "-i", IMAGE, "cat", stdin=text).stdout == text


def test_a_command_that_does_not_exist_is_127(podman: Podman) -> None:
    done = podman(*RUN, "--rm", IMAGE, "nosuch")
    assert done.returncode == 127
    assert "nosuch" in done.stderr


def test_logs_and_exit_code_are_there_after_the_end(podman: Podman, name: str) -> None:
    podman(*RUN, "--name", name, IMAGE, "sh", "-c", "seq 1 2000; echo err >&2; exit 6")
    logs = podman("logs", name)
    assert logs.stdout.split() == [str(number) for number in range(1, 2001)]
    assert logs.stderr == "err\n"
    assert podman("wait", name).stdout == "6\n"
    assert podman("rm", name).returncode == 0


def test_logs_can_be_followed(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "-i", "--name", name, IMAGE, "sh", "-c", "echo one; read go; echo two")
    follower = podman.spawn("logs", "-f", name)
    follower.expect("one")
    assert podman("attach", name, stdin="go\n").stdout.split() == ["two"]
    follower.expect("two")
    follower.expect(pexpect.EOF)
    follower.close()


def test_exec(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "--name", name, IMAGE, "sleep", "1000")
    done = podman("exec", name, "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 4)
    assert podman("exec", "-i", name, "cat", stdin="text").stdout == "text"
    assert podman("exec", name, "nosuch").returncode == 127
    assert podman("rm", "-f", "-t", "0", name).returncode == 0


def test_kill_and_stop_are_seen(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "--name", name, IMAGE, "sleep", "1000")
    podman("kill", name)
    assert podman("wait", name).stdout == "137\n"
    podman("start", name)
    podman("stop", "-t", "0", name)
    assert podman("inspect", "--format", "{{.State.ExitCode}}", name).stdout == "137\n"
    assert podman("rm", name).returncode == 0


def test_a_terminal_can_be_used_and_resized(podman: Podman) -> None:
    shell = podman.spawn(*RUN, "--rm", "-it", IMAGE, "sh")
    shell.expect("# ")
    shell.sendline("stty size")
    shell.expect("33 111")
    shell.setwinsize(40, 122)
    # podman passes the size on when it gets SIGWINCH: ask until it has.
    for _ in range(100):
        shell.sendline("stty size")
        if shell.expect([rb"40 122\r", rb"33 111\r"]) == 0:
            break
    else:
        pytest.fail("the container's terminal kept its size")
    shell.sendline("exit 9")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 9


def test_exec_with_a_terminal(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "--name", name, IMAGE, "sleep", "1000")
    shell = podman.spawn("exec", "-it", name, "sh")
    shell.expect("# ")
    shell.sendline("echo $((6 * 7))")
    shell.expect(r"\r\n42\r\n")
    shell.sendline("exit 3")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 3
    podman("rm", "-f", "-t", "0", name)


def test_attach_to_a_terminal(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "-it", "--name", name, IMAGE, "sh")
    shell = podman.spawn("attach", name)
    shell.sendline("echo $((6 * 7))")
    shell.expect(r"\r\n42\r\n")
    shell.sendline("exit 2")
    shell.expect(pexpect.EOF)
    shell.close()
    assert podman("wait", name).stdout == "2\n"
    assert re.search(r"^42\r?$", podman("logs", name).stdout, re.M)
    podman("rm", "-f", "-t", "0", name)


def test_a_detached_exec_runs_on(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "--name", name, IMAGE, "sh", "-c", "mkfifo /f; read go < /f; echo $go")
    script = "until [ -p /f ]; do sleep 0.05; done; echo hi > /f"
    started = podman("exec", "-d", name, "sh", "-c", script)
    assert started.returncode == 0, started.stderr
    assert podman("wait", name).stdout == "0\n"
    assert podman("logs", name).stdout == "hi\n"
    assert podman("rm", name).returncode == 0


def test_created_started_and_restarted(podman: Podman, name: str) -> None:
    script = "echo run; [ -e /seen ] && exit 7; touch /seen; exit 3"
    assert (
        podman("create", "--network", "none", "--name", name, IMAGE, "sh", "-c", script).returncode
        == 0
    )
    first, second = podman("start", "-a", name), podman("start", "-a", name)
    assert (first.stdout, first.returncode) == ("run\n", 3)
    assert (second.stdout, second.returncode) == ("run\n", 7)
    assert podman("logs", name).stdout == "run\nrun\n"
    assert podman("rm", name).returncode == 0


def test_a_signal_reaches_the_container(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "--name", name, IMAGE, "sh", "-c",
           "trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done")  # fmt: skip
    follower = podman.spawn("logs", "-f", name)
    follower.expect("ready")
    assert podman("kill", "-s", "USR1", name).returncode == 0
    follower.expect(pexpect.EOF)
    follower.close()
    assert podman("wait", name).stdout == "8\n"
    assert podman("rm", name).returncode == 0


def test_a_running_container_is_removed_by_force(podman: Podman, name: str) -> None:
    podman(*RUN, "-d", "--name", name, IMAGE, "sleep", "1000")
    pid = podman("inspect", "--format", "{{.State.ConmonPid}}", name).stdout.strip()
    assert b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert podman("rm", "-f", "-t", "0", name).returncode == 0
    assert podman("container", "exists", name).returncode == 1
    wait_for(lambda: not is_running(pid), "the monitor's end")


def test_a_container_that_runs_too_long_is_ended(podman: Podman, name: str) -> None:
    done = podman(*RUN, "--timeout", "1", "--name", name, IMAGE, "sleep", "1000")
    assert done.returncode == 255
    assert podman("rm", name).returncode == 0
