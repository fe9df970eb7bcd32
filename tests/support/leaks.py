"""What a test run leaves on the machine: compared before and after by ``--check-leaks``."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support import cgroups

INTERPRETERS = "/run/pyrun-interpreter"
PROGRAMS = ("pyrun", "pyconmon", "pyengine", "conmon", "runc", "crun", "podman", "registry")
PARENT = "libpod_parent"
STATE_FOLDERS = ("/run/pyrun", "/run/pyengine", "/run/pyconmon", "/var/lib/pyengine")


@dataclass(frozen=True)
class Snapshot:
    """Mount points, cgroups, network namespaces, orphaned processes, entries of state folders."""

    mounts: frozenset[str]
    cgroups: frozenset[str]
    namespaces: frozenset[str]
    orphans: frozenset[str]
    state: frozenset[str]

    def since(self, before: Snapshot) -> list[str]:
        """One line for each thing that is here and was not there ``before``."""
        return [
            f"{name}: {entry}"
            for name in ("mounts", "cgroups", "namespaces", "orphans", "state")
            for entry in sorted(getattr(self, name) - getattr(before, name))
        ]


def unmount_interpreter(python: str) -> None:
    """Remove the read-only view of this Python that pyrun makes once per boot (docs/adr/0009)."""
    target = f"{INTERPRETERS}{python}"
    while os.path.ismount(target):
        subprocess.run(["umount", "--lazy", target], check=True)


def remove_shared_parents(before: Snapshot) -> None:
    """Remove the empty cgroups that podman and pyengine keep for all their containers."""
    made = [path for path in _cgroups() - before.cgroups if PARENT in path.split("/")]
    for path in sorted(made, reverse=True):
        try:
            os.rmdir(path)
        except OSError:  # something is left in it: that is what the comparison shows
            continue


def _mounts() -> frozenset[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = {line.split()[1] for line in lines}
    # made once per boot and kept on purpose (docs/adr/0009)
    return frozenset(point for point in points if not point.startswith("/run/pyrun-interpreter/"))


def _cgroups() -> frozenset[str]:
    return frozenset(cgroups.directories())


def _entries(folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in os.listdir(folder)] if os.path.isdir(folder) else []


def _orphans() -> frozenset[str]:
    """Programs and containers whose parent is process 1, by pid, start time and command line."""
    found = set()
    own_namespace = os.readlink("/proc/self/ns/mnt")
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            words = (
                Path(f"/proc/{name}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
            )
            namespace = os.readlink(f"/proc/{name}/ns/mnt")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:  # more privileged than root here: nothing that tests started
            continue
        ours = namespace != own_namespace or any(program in words for program in PROGRAMS)
        if fields[1] == "1" and words and ours:
            found.add(f"{name} (started {fields[19]}): {words.strip()[:200]}")
    return frozenset(found)


def snapshot() -> Snapshot:
    """What is there now."""
    return Snapshot(
        mounts=_mounts(),
        cgroups=_cgroups(),
        namespaces=frozenset(_entries("/run/netns")),
        orphans=_orphans(),
        state=frozenset(entry for folder in STATE_FOLDERS for entry in _entries(folder)),
    )


def left_since(before: Snapshot, patience_s: float = 60.0) -> list[str]:
    """What is left of a run; waits a little for what is just ending by itself."""
    deadline = time.monotonic() + patience_s
    while (left := snapshot().since(before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
