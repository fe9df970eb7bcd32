"""Where a container's cgroup is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import Resources

CGROUP_ROOT = "/sys/fs/cgroup"
CGROUP_PARENT = "/libpod_parent"  # podman's, which monitoring tools look for
SUPERVISOR = "supervisor"  # podman's name for the monitor's half of a split cgroup


def is_v2() -> bool:
    """Whether cgroup v2 is all there is."""
    return os.path.exists(f"{CGROUP_ROOT}/cgroup.controllers")


def cgroups_path(id_: str, limits: Resources, *, systemd: bool) -> str:
    """``linux.cgroupsPath`` in the form the cgroup manager expects.

    ``--cgroups=split`` has its path only while it runs: then it is what the monitor was put beside.
    """
    parent = limits.get("cgroup_parent", "")
    if systemd:
        return f"{parent or 'machine.slice'}:libpod:{id_}"
    above = f"/{parent.strip('/')}" if parent else CGROUP_PARENT
    return f"{above}/libpod-{id_}"
