"""Containers of the runtime under test: a bundle each, and the runtime's commands on it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.cases import Failure, NotApplicable

TIMEOUT_S = 60.0
APPLETS = [
    "cat",
    "chmod",
    "chown",
    "cp",
    "date",
    "dd",
    "echo",
    "env",
    "false",
    "head",
    "hostname",
    "id",
    "kill",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "od",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "sh",
    "sleep",
    "sort",
    "stat",
    "tail",
    "test",
    "touch",
    "tr",
    "true",
    "umount",
    "uname",
    "wc",
]


def base_config() -> dict[str, Any]:
    """An ordinary config.json; a test changes what its requirement is about."""
    capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["sleep", "1000"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                name: list(capabilities) for name in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "conformance",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            },
            {
                "destination": "/sys",
                "type": "sysfs",
                "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            },
        ],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    }


@dataclass
class Result:
    """How a command of the runtime ended."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The end of what it said, for a message."""
        return (self.err or self.out).strip()[-300:] or f"exit status {self.code}"


@dataclass
class Container:
    """One container: ``config`` is written into its bundle by ``create`` and ``run``."""

    machine: Machine
    id: str
    bundle: Path
    config: dict[str, Any]
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.bundle / "output"

    @property
    def rootfs(self) -> Path:
        return self.bundle / "rootfs"

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.config["process"]
        return process

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.config["linux"]
        return linux

    def write(self) -> None:
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def shell(self, script: str) -> None:
        """Let the container run a script of busybox' shell."""
        self.process["args"] = ["sh", "-c", script]

    # --- the operations of runtime.md

    def command(self, *arguments: str) -> Result:
        return self.machine.command(*arguments)

    def create(self) -> Result:
        """The container's output goes to the file ``output``."""
        self.write()
        with self.output.open("w") as out, (self.bundle / "errors").open("w") as errors:
            code = self.machine.call(["create", "--bundle", str(self.bundle), self.id], out, errors)
        return Result(code, self.output.read_text(), (self.bundle / "errors").read_text())

    def start(self) -> Result:
        return self.command("start", self.id)

    def state(self) -> dict[str, Any]:
        done = self.command("state", self.id)
        if done.code != 0:
            raise Failure(f"state failed: {done.words}")
        state: dict[str, Any] = json.loads(done.out)
        return state

    def status(self) -> str:
        return str(self.state()["status"])

    def kill(self, signal_name: str) -> Result:
        return self.command("kill", self.id, signal_name)

    def delete(self, *options: str) -> Result:
        return self.command("delete", *options, self.id)

    def exists(self) -> bool:
        return self.command("state", self.id).code == 0

    # --- steps that most tests need, with a failure of their own

    def must_create(self) -> Container:
        _must("create", self.create())
        return self

    def must_start(self) -> Container:
        self.must_create()
        _must("start", self.start())
        return self

    def must_stop(self) -> Container:
        """Create, start, and wait until the program has ended."""
        self.must_create()
        return self._end_by("start", self.start)

    def end(self) -> Container:
        """Kill the program of a running container and wait for its end."""
        return self._end_by("kill", lambda: self.kill("KILL"))

    def _end_by(self, step: str, command: Callable[[], Result]) -> Container:
        pid_fd = os.pidfd_open(self.state()["pid"])
        try:
            _must(step, command())
            wait_for_exit(pid_fd)
        finally:
            os.close(pid_fd)
        self.wait_for_status("stopped")
        return self

    def wait_for_status(self, status: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while (seen := self.status()) != status:
            if time.monotonic() > deadline:
                raise Failure(f"status stays {seen}, not {status}")
            time.sleep(0.01)

    def run(self, script: str = "") -> str:
        """What the program prints, after it ended."""
        if script:
            self.shell(script)
        self.must_stop()
        return self.output.read_text()

    def refused(self, what: str) -> None:
        """The runtime must refuse to create the container and leave none behind."""
        if self.create().code == 0:
            raise Failure(f"create accepts {what}")
        if self.exists():
            raise Failure(f"create refuses {what}, but the container is there")

    def clean_up(self) -> None:
        """Whatever the test left."""
        self.command("delete", "--force", self.id)
        if self.id:
            remove_cgroups(self.id)
        shutil.rmtree(self.bundle, ignore_errors=True)


def _must(step: str, done: Result) -> None:
    if done.code != 0:
        raise Failure(f"{step} failed: {done.words}")


def wait_for_exit(pid_fd: int) -> None:
    """Return when the process has ended."""
    poll = select.poll()
    poll.register(pid_fd, select.POLLIN)
    if not poll.poll(TIMEOUT_S * 1000):
        raise Failure("the program does not end")


@dataclass
class Machine:
    """The runtime under test with a state directory of its own.

    Attributes:
        runtime: the path of its program.
        directory: for everything that this run makes.
        busybox: a static busybox, which is all that a root filesystem has.
    """

    runtime: str
    directory: Path
    busybox: Path
    containers: list[Container] = field(default_factory=list)

    def container(self) -> Container:
        """A new bundle with ``base_config`` and a root filesystem of busybox."""
        name = f"conformance-{uuid.uuid4().hex[:12]}"
        bundle = self.directory / name
        make_rootfs(bundle / "rootfs", self.busybox)
        made = Container(self, name, bundle, base_config())
        made.linux["cgroupsPath"] = f"/{name}"
        self.containers.append(made)
        return made

    def command(self, *arguments: str) -> Result:
        """Run one command of the runtime."""
        done = subprocess.run(
            [self.runtime, "--root", str(self.directory / "state"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def call(self, arguments: list[str], out: Any, errors: Any) -> int:
        """The same with given files: a pipe would stay open as long as the container."""
        done = subprocess.run(
            [self.runtime, "--root", str(self.directory / "state"), *arguments],
            stdout=out,
            stderr=errors,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
        return done.returncode

    def clean_up(self) -> None:
        """Remove the containers of one test."""
        while self.containers:
            self.containers.pop().clean_up()


def make_rootfs(rootfs: Path, busybox: Path) -> None:
    """A root filesystem of hard links to one copy of busybox."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "mnt"):
        (rootfs / name).mkdir(parents=True)
    os.link(busybox, rootfs / "bin/busybox")
    for name in APPLETS:
        (rootfs / "bin" / name).symlink_to("busybox")


def cgroup_file(pid: int, controller: str, name: str) -> str:
    """A file of a process's cgroup in a v1 hierarchy, or in cgroup2 for ``""``."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        for candidate in (controller or "unified", controllers, ""):
            file = Path("/sys/fs/cgroup", candidate, path.lstrip("/"), name)
            if file.exists():
                return file.read_text().strip()
    raise NotApplicable(f"no cgroup file {name} on this machine")


def cgroups_left(name: str) -> list[str]:
    """The cgroups of this name, in whatever hierarchy."""
    found, waiting = [], ["/sys/fs/cgroup"]
    while waiting:  # not os.walk: it calls itself, and a container may make more levels than it can
        directory = waiting.pop()
        if os.path.basename(directory) == name and os.path.exists(f"{directory}/cgroup.procs"):
            found.append(directory)
            continue
        try:
            with os.scandir(directory) as entries:
                waiting += [one.path for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:  # removed meanwhile
            continue
    return found


def remove_cgroups(name: str) -> None:
    """What a runtime left of a container: its processes, then its cgroups."""
    left = cgroups_left(name)
    for directory in left:
        for pid in Path(directory, "cgroup.procs").read_text().split():
            try:
                pid_fd = os.pidfd_open(int(pid))
            except ProcessLookupError:  # it ended meanwhile
                continue
            try:
                signal.pidfd_send_signal(pid_fd, signal.SIGKILL)
                wait_for_exit(pid_fd)
            finally:
                os.close(pid_fd)
    for directory in left:
        for inner, _, _ in os.walk(directory, topdown=False):
            subprocess.run(["rmdir", inner], check=False, capture_output=True)
