"""A storage root with a busybox image for tests of containers, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from support import images
from support.engine import EngineRoot
from support.waiting import wait_for

IMAGE = "localhost/box:1"
CGROUP_TOP = "/sys/fs/cgroup"


class ContainerRoot(EngineRoot):
    """``run`` and friends on a root of their own; ``programs`` are global options."""

    def __init__(self, pyengine: str, directory: Path, programs: tuple[str, ...] = ()) -> None:
        super().__init__(pyengine, directory)
        self.programs = programs

    def argv(self, *arguments: str | Path) -> list[str]:
        whole = super().argv(*arguments)
        return [*whole[:5], *self.programs, *whole[5:]]

    def load_image(self, **config: Any) -> None:
        archive = images.oci_archive(
            self.root.parent / "box.tar", {IMAGE: images.busybox_image(**config)}
        )
        self.ok("load", "-i", archive)

    def sh(self, script: str, *options: str) -> str:
        """The output of a shell script in a container that is removed."""
        return self.ok("run", "--rm", *options, IMAGE, "sh", "-c", script)

    def popen(self, *arguments: str, **how: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.argv(*arguments), **how)

    def status(self, name: str) -> str:
        rows = self.ok("ps", "-a", "--no-trunc", "--noheading", "--filter", f"name=^{name}$")
        return rows.strip()

    def remove_everything(self) -> None:
        """Remove all containers; whatever is left then is a leak."""
        self.ok("rm", "-f", "-t", "0", "-a")

    def left(self) -> list[str]:
        """Everything of any container, besides images: empty when all were removed."""
        left = [f"mount {path}" for path in self.mounts()]
        for directory in (self.root / "containers", self.runroot / "containers",
                          self.runroot / "exits", self.root / "staging"):  # fmt: skip
            if directory.exists():
                left += [f"file {path}" for path in directory.iterdir()]
        locks = self.root / "locks"
        left += [f"lock {path.name}" for path in locks.iterdir() if path.name[:5] == "conta"]
        left += [f"row {row[0]}" for row in self.rows("SELECT id FROM containers")]
        left += [f"intent {row}" for row in self.rows("SELECT kind, object FROM intents")]
        left += [f"process {line}" for line in self.processes()]
        return left

    def mounts(self) -> list[str]:
        """What is mounted below this root."""
        found = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return [path for path in found if path.startswith(str(self.root))]

    def settled(self) -> list[str]:
        """As ``left``, once exit commands that are just ending have ended."""
        wait_for(lambda: not self.processes(), f"processes of {self.runroot}: {self.processes()}")
        return self.left()

    def processes(self) -> list[str]:
        """Monitors, runtimes and engines that work on this root."""
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                raw = Path(f"/proc/{name}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            words = raw.replace(b"\0", b" ").decode(errors="replace")
            if str(self.runroot) in words:
                found.append(f"{name} {words[:300]}")
        return found

    def cgroups(self, container_id: str) -> list[str]:
        """The cgroups of a container, by its full id."""
        found = []
        for parent, folders, _ in os.walk(CGROUP_TOP):
            found += [f"{parent}/{name}" for name in folders if container_id in name]
        return found
