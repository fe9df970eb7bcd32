"""Runs an OCI runtime's commands with a --root of its own, and cleans up whatever happens."""

from __future__ import annotations

import json
import os
import select
import subprocess
import uuid
from pathlib import Path
from typing import Any

from support import cgroups
from support.bundle import Bundle
from support.machine import with_cgroup_layout

Done = subprocess.CompletedProcess[str]


class Runtime:
    """One runtime below test; close it, or use it as a context manager.

    Attributes:
        root: its --root.
        ids: of all containers that it was asked to make.
    """

    def __init__(self, program: str, root: Path, *options: str) -> None:
        self.program = program
        self.root = root
        self.ids: list[str] = []
        self._options = options

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete every container."""
        for name in self.ids:
            self.call("delete", "--force", name)

    def new_id(self) -> str:
        """An id that nobody else uses."""
        self.ids.append(f"test-{uuid.uuid4().hex[:12]}")
        return self.ids[-1]

    def command(self, *words: str) -> list[str]:
        """The argv of one call."""
        return [self.program, "--root", str(self.root), *self._options, *words]

    def call(self, *words: str, **settings: Any) -> Done:
        """Run one command to its end; its output is text."""
        settings = {"stdin": subprocess.DEVNULL, "timeout": 60, **settings}
        return subprocess.run(
            self.command(*words), check=False, capture_output=True, text=True, **settings
        )

    def run(self, bundle: Bundle, *options: str, **settings: Any) -> Done:
        """``run`` with output and exit status of the container."""
        bundle.save()
        return self.call("run", *options, "-b", str(bundle.path), self.new_id(), **settings)

    def output(self, bundle: Bundle, *options: str) -> str:
        """What a container that must succeed wrote."""
        done = self.run(bundle, *options)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()

    def create(self, bundle: Bundle, *options: str, **settings: Any) -> str:
        """``create``, which must succeed; returns the id."""
        bundle.save()
        name = self.new_id()
        # init holds the pipes of capture_output open, so its output goes nowhere instead
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **settings}
        with open(self.root.parent / f"{name}.err", "w+") as errors:
            words = self.command("create", *options, "-b", str(bundle.path), name)
            done = subprocess.run(words, check=False, timeout=60, stderr=errors, **quiet)
            errors.seek(0)
            assert done.returncode == 0, errors.read()
        return name

    def start(self, bundle: Bundle, *options: str, **settings: Any) -> str:
        """``create`` and ``start``; returns the id."""
        name = self.create(bundle, *options, **settings)
        done = self.call("start", name)
        assert done.returncode == 0, done.stderr
        return name

    def state(self, name: str) -> dict[str, Any]:
        """What ``state`` prints."""
        done = self.call("state", name)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def wait_until_stopped(self, name: str) -> None:
        """Return when init has ended; its pidfd tells."""
        pid = self.state(name)["pid"]
        if not pid:
            return
        try:
            pid_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            poll = select.poll()
            poll.register(pid_fd, select.POLLIN)
            assert poll.poll(60_000), f"{name} did not stop"
        finally:
            os.close(pid_fd)

    def left(self, name: str) -> list[str]:
        """What there is of a container: its state, cgroups, mounts and processes."""
        found = [str(path) for path in self.root.glob(f"{name}*")]
        found += [folder for folder in cgroups.directories() if folder.endswith(name)]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [line for line in mounts if str(self.root.parent) in line]
        return found


class InLayout(Runtime):
    """A runtime whose every command sees one cgroup layout, in a mount namespace of its own."""

    def __init__(self, program: str, root: Path, layout: str) -> None:
        super().__init__(program, root)
        self.layout = layout

    def command(self, *words: str) -> list[str]:
        """The argv of one call, with the mount namespace around it."""
        return with_cgroup_layout(self.layout, super().command(*words))
