"""Runs a monitor (conmon or pyconmon) the way podman does, on a bundle of busybox."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.machine import BUSYBOX, with_cgroup_layout
from support.waiting import PATIENCE_S, wait_for


def read_if_there(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None


def read_link(path: Path) -> str:
    """Where it leads; nowhere for a descriptor that was closed meanwhile."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


def make_bundle(directory: Path, arguments: list[str], *, terminal: bool = False) -> Path:
    """A bundle whose root is busybox, as ``runc spec`` describes it."""
    root = directory / "rootfs"
    (root / "bin").mkdir(parents=True)
    for name in ("proc", "dev", "sys", "tmp"):
        (root / name).mkdir()
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in ("sh", "cat", "echo", "sleep", "true", "stty", "dd", "kill", "head", "seq", "ps"):
        (root / "bin" / applet).symlink_to("busybox")
    subprocess.run(["runc", "spec"], cwd=directory, check=True)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["process"]["args"] = arguments
    config["process"]["terminal"] = terminal
    config["process"]["rlimits"] = []
    # Debian's runc asks for some that are not inheritable, which other runtimes warn of.
    del config["process"]["capabilities"]["ambient"]
    path.write_text(json.dumps(config))
    return directory


def is_running(pid: int | str) -> bool:
    """Whether the process lives; a zombie that some init has yet to reap does not."""
    text = read_if_there(Path(f"/proc/{pid}/stat"))
    return text is not None and text.rpartition(")")[2].split()[0] != "Z"


def sleeps(pid: int) -> bool:
    """Whether a process waits for descriptors."""
    wait_channel = Path(f"/proc/{pid}/wchan").read_text()
    return "epoll" in wait_channel or "poll" in wait_channel


class Container:
    """One container under a monitor; every path is below ``directory``."""

    def __init__(self, monitor: str, runtime: str, directory: Path) -> None:
        self.monitor = monitor
        # Two names, as a test may give the monitor a runtime that misbehaves.
        self.runtime = self.real_runtime = shutil.which(runtime) or runtime
        self.directory = directory
        self.id = f"m{uuid.uuid4().hex}"
        self.bundle = directory / "bundle"
        self.log = directory / "ctr.log"
        self.exit_file = directory / "exits" / self.id
        self.persist_dir = directory / "persist"
        self.pid_file = directory / "pid"
        self.monitor_pid_file = directory / "monitor.pid"
        self.runtime_root = directory / "runtime"
        for path in (directory / "exits", self.persist_dir):
            path.mkdir()
        self.prefix: list[str] = []  # what the monitor and the runtime are run through
        self.layout = "host"  # of the cgroups that monitor and runtime see
        self.clients: list[socket.socket] = []

    def command(self, *more: str) -> list[str]:
        return [
            self.monitor, "--api-version", "1", "-c", self.id, "-u", self.id, "-n", "name",
            "-r", self.runtime, "-b", str(self.bundle), "-p", str(self.pid_file),
            "--exit-dir", str(self.exit_file.parent), "--persist-dir", str(self.persist_dir),
            "-P", str(self.monitor_pid_file), "-l", f"k8s-file:{self.log}", "--full-attach",
            "--runtime-arg", "--root", "--runtime-arg", str(self.runtime_root), *more,
        ]  # fmt: skip

    def launch(
        self, command: list[str], environment: dict[str, str] | None = None
    ) -> tuple[subprocess.CompletedProcess[str], int]:
        """Run the monitor until it has left us; also the reading end of its sync pipe."""
        sync_read, sync_write = os.pipe()
        start_read, start_write = os.pipe()
        try:
            with subprocess.Popen(
                [*self.prefix, *with_cgroup_layout(self.layout, command)],
                cwd=self.directory,  # where conmon 2.1 leaves its file oom
                pass_fds=(sync_write, start_read),
                env={
                    **os.environ,
                    "PWD": str(self.directory),  # a shell would correct an old one
                    "_OCI_SYNCPIPE": str(sync_write),
                    "_OCI_STARTPIPE": str(start_read),
                    **(environment or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                os.write(start_write, b"x")
                out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            for fd in (sync_write, start_read, start_write):
                os.close(fd)
        return subprocess.CompletedProcess(command, process.returncode, out, err), sync_read

    def create(self, *more: str) -> dict[str, Any]:
        """Create the container; the first line of the sync pipe."""
        done, fd = self.launch(self.command(*more))
        with os.fdopen(fd) as sync:
            line = sync.readline()
        assert done.returncode == 0, done.stderr
        return dict(json.loads(line)) if line else {}

    def run_runtime(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            with_cgroup_layout(
                self.layout, [self.real_runtime, "--root", str(self.runtime_root), *arguments]
            ),
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )  # fmt: skip

    def start(self) -> None:
        done = self.run_runtime("start", self.id)
        assert done.returncode == 0, done.stderr

    @property
    def monitor_pid(self) -> int:
        return int(wait_for(lambda: read_if_there(self.monitor_pid_file), "the monitor's pid file"))

    @property
    def is_resident(self) -> bool:
        """Whether pyconmon waits in its small program (docs/adr/0022)."""
        return b"\0pyconmon=" in Path(f"/proc/{self.monitor_pid}/cmdline").read_bytes()

    @property
    def program(self) -> bytes:
        """Differs after each execve of the monitor: where the kernel has put its stack."""
        return Path(f"/proc/{self.monitor_pid}/auxv").read_bytes()

    @property
    def holds_modules(self) -> bool:
        """Whether a monitor that will not be resident has opened what it may load later."""
        descriptors = Path(f"/proc/{self.monitor_pid}/fd")
        names = (read_link(path) for path in descriptors.iterdir())
        return any("/backlog." in name for name in names)

    def settle(self) -> None:
        """Wait until a monitor does nothing more by itself."""
        wait_for(lambda: not self.has_record or self.is_resident, "the monitor's resident program")
        pid = self.monitor_pid
        wait_for(lambda: sleeps(pid), "the monitor's rest")

    def wait(self) -> str:
        """Wait for the exit file; its content."""
        return str(wait_for(lambda: read_if_there(self.exit_file), "the exit file"))

    def wait_for_monitor(self) -> None:
        pid = self.monitor_pid
        wait_for(lambda: not is_running(pid), "the monitor's end")

    def run(self, *more: str) -> str:
        """Create, start and wait; the exit file's content."""
        assert self.create(*more)["data"] > 0
        self.start()
        code = self.wait()
        self.wait_for_monitor()
        return code

    @property
    def has_record(self) -> bool:
        """Whether the monitor is ours, which keeps an exit record."""
        return os.path.basename(self.monitor) == "pyconmon"

    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.persist_dir / "exit.json").read_text()))

    def log_lines(self) -> list[tuple[str, str, str]]:
        """Stream, tag and text of each line."""
        lines = self.log.read_text().splitlines()
        return [(line.split(" ", 3)[1], line.split(" ", 3)[2], line.split(" ", 3)[3])
                for line in lines]  # fmt: skip

    def attach(self) -> socket.socket:
        return self.attach_at(self.bundle)

    def attach_at(self, directory: Path) -> socket.socket:
        """A client of the attach socket in ``directory``; closed with the container."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.clients.append(client)
        directory_fd = os.open(directory, os.O_PATH)
        try:
            client.connect(f"/proc/self/fd/{directory_fd}/attach")
        finally:
            os.close(directory_fd)
        # Not before: a socket with a timeout does not wait for room in the queue.
        client.settimeout(PATIENCE_S)
        return client

    def destroy(self) -> None:
        """Kill and delete the container, and end its monitor, in whatever state they are."""
        for client in self.clients:
            client.close()
        self.run_runtime("delete", "--force", self.id)
        text = read_if_there(self.monitor_pid_file)
        deadline = time.monotonic() + 5
        while text and is_running(text) and time.monotonic() < deadline:
            time.sleep(0.005)
        if text and is_running(text):
            os.kill(int(text), signal.SIGKILL)


@contextmanager
def container(
    monitor: str, runtime: str, directory: Path, arguments: list[str], *, terminal: bool = False
) -> Iterator[Container]:
    """A container that is gone afterwards."""
    directory.mkdir(exist_ok=True)
    made = Container(monitor, runtime, directory)
    made.bundle.mkdir()
    make_bundle(made.bundle, arguments, terminal=terminal)
    try:
        yield made
    finally:
        made.destroy()


def receive_all(client: socket.socket) -> dict[int, bytes]:
    """Everything until the monitor hangs up, by stream."""
    streams: dict[int, bytes] = {}
    while packet := client.recv(16384):
        streams[packet[0]] = streams.get(packet[0], b"") + packet[1:]
    return streams


class ExecSession:
    """One process added to a running container, monitored by its own monitor."""

    def __init__(self, made: Container, arguments: list[str], *, terminal: bool = False) -> None:
        self.container = made
        self.directory = made.directory / f"exec-{uuid.uuid4().hex[:8]}"
        self.directory.mkdir()
        self.log = self.directory / "log"
        self.pid_file = self.directory / "pid"
        self.spec = self.directory / "process.json"
        process = json.loads((made.bundle / "config.json").read_text())["process"]
        self.spec.write_text(json.dumps({**process, "args": arguments, "terminal": terminal}))
        self.terminal = terminal

    def command(self, *more: str) -> list[str]:
        made = self.container
        return [
            made.monitor, "--api-version", "1", "-c", made.id, "-u", self.directory.name,
            "-n", "name", "-r", made.runtime, "-b", str(self.directory), "-p", str(self.pid_file),
            "--exit-dir", str(self.directory), "-l", f"k8s-file:{self.log}", "--full-attach",
            "-e", "--exec-process-spec", str(self.spec), *(["-t"] if self.terminal else []),
            "--runtime-arg", "--root", "--runtime-arg", str(made.runtime_root), *more,
        ]  # fmt: skip

    def run(self, *more: str) -> list[dict[str, Any]]:
        """Run it to its end; the lines of the sync pipe: the pid, then the exit code."""
        done, fd = self.container.launch(self.command(*more))
        assert done.returncode == 0, done.stderr
        with os.fdopen(fd) as sync:
            return [json.loads(line) for line in sync]
