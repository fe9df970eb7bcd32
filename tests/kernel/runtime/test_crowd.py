"""Many containers at once, whose pyrun is killed at random points: nothing may be left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support import cgroups
from support.bundle import Bundle, default_config

pytestmark = pytest.mark.needs("root", "busybox", "userns", "strace")

# The guest's one slow processor would need many minutes for a hundred.
COUNT = 100 if (os.cpu_count() or 1) > 1 else 24
HELPED = 4  # every fourth has a user namespace: there is a helper between pyrun and init
COMMANDS = ("create", "start", "delete")
PATIENCE_S = 60.0
QUIET: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)


class Crowd:
    """Containers that share a root filesystem; each has a bundle and cgroup of its own."""

    def __init__(self, program: str, folder: Path, dice: random.Random) -> None:
        self.program = program
        self.mark = f"crowd-{uuid.uuid4().hex[:12]}"
        self.folder = folder / self.mark
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.dice = dice
        self.points: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self.rootfs = Bundle(self.folder).rootfs
        self.ids = [f"{self.mark}-{number}" for number in range(COUNT)]
        for number, name in enumerate(self.ids):
            (self.folder / name).mkdir()
            (self.folder / name / "config.json").write_text(json.dumps(self._config(name, number)))

    def _config(self, name: str, number: int) -> dict[str, Any]:
        config = default_config(["sleep", "100000"])
        config["root"]["path"] = str(self.rootfs)
        config["linux"]["cgroupsPath"] = f"/{name}"
        if number % HELPED == 0:  # a helper between pyrun and init
            config["linux"]["namespaces"].append({"type": "user"})
            for kind in ("uidMappings", "gidMappings"):
                config["linux"][kind] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        return config

    def words(self, command: str, name: str) -> list[str]:
        """The argv of one command for one container."""
        options = {"create": ["-b", str(self.folder / name)], "delete": ["--force"]}
        root = ["--root", str(self.folder / "state")]
        return [self.program, *root, command, *options.get(command, []), name]

    def record(self) -> None:
        """Learn by strace which system calls each command makes once it looks at a container."""
        trace = self.folder / "trace"
        for name in self.ids[:HELPED]:
            for command in COMMANDS:
                words = ["strace", "-o", str(trace), *self.words(command, name)]
                subprocess.run(words, check=True, **QUIET)
                self.points[command, name] = _points(trace.read_text(), self.mark)

    def all_at_once(self, command: str, killed: float) -> int:
        """One pyrun for each container, a part of them killed on the way; returns how many."""
        running = [
            subprocess.Popen(
                [*(self._killer(command, number) if self.dice.random() < killed else []),
                 *self.words(command, name)],
                **QUIET,
            )
            for number, name in enumerate(self.ids)
        ]  # fmt: skip
        return [child.wait(PATIENCE_S) for child in running].count(-signal.SIGKILL)

    def _killer(self, command: str, number: int) -> list[str]:
        """What runs a program and kills it at a random system call, before that is made."""
        like = self.ids[number % HELPED]
        call, nth = self.dice.choice(self.points[command, like])
        inject = f"inject={call}:signal=SIGKILL:when={nth}"
        return ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]

    def delete(self) -> list[str]:
        """``delete --force`` for each; what it says against those it does not remove."""
        said = []
        for name in self.ids:
            words = self.words("delete", name)
            done = subprocess.run(
                words, check=False, capture_output=True, text=True, timeout=PATIENCE_S
            )
            if done.returncode:
                said.append(f"{name}: {done.stderr.strip()}")
        return said

    def left(self) -> list[str]:
        """State, cgroups, mounts, and processes with whatever namespaces they hold."""
        state = self.folder / "state"
        found = [str(path) for path in state.iterdir()] if state.exists() else []
        found += [one for one in cgroups.directories() if self.mark in os.path.basename(one)]
        for entry in filter(str.isdigit, os.listdir("/proc")):
            if int(entry) != os.getpid():
                found += [f"process {entry}: {name}" for name in self._traces(entry)]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return found + [line for line in mounts if self.mark in line]

    def _traces(self, pid: str) -> list[str]:
        """Files of /proc/PID that name this crowd."""
        found = []
        for name in ("cmdline", "mountinfo", "cgroup"):
            try:
                if self.mark.encode() in Path(f"/proc/{pid}/{name}").read_bytes():
                    found.append(name)
            except OSError:  # it has ended
                continue
        return found


def _points(trace: str, mark: str) -> list[tuple[str, int]]:
    """Each system call from the first that names the crowd: its name, and the how manieth it is."""
    seen: Counter[str] = Counter()
    found: list[tuple[str, int]] = []
    for line in trace.splitlines():
        call = line.partition("(")[0]
        seen[call] += 1
        if found or (mark in line and call != "execve"):
            found.append((call, seen[call]))
    return [point for point in found if point[0].isidentifier()]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Printed when the test fails, to be given again in CROWD_SEED."""
    chosen = int(os.environ.get("CROWD_SEED") or uuid.uuid4().int % 1_000_000)
    print(f"CROWD_SEED={chosen} {request.node.name}")
    return chosen


@pytest.mark.timeout(900)
def test_pyrun_killed_at_random_leaves_nothing_that_delete_does_not_remove(
    pyrun_path: str, tmp_path: Path, seed: int
) -> None:
    crowd = Crowd(pyrun_path, tmp_path, random.Random(seed))
    said = []
    try:
        crowd.record()
        killed = [crowd.all_at_once(command, 0.6) for command in COMMANDS]
    finally:
        said = crowd.delete()
    deadline = time.monotonic() + PATIENCE_S
    while (left := crowd.left()) and time.monotonic() < deadline:
        time.sleep(0.05)  # a process whose parent was killed ends by itself
    assert (left, said) == ([], [])
    assert min(killed) > 0, killed
