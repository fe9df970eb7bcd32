"""Where a container's cgroup is."""

from __future__ import annotations

CGROUP_ROOT = "/sys/fs/cgroup"
CGROUP_PARENT = "/libpod_parent"  # podman's, which monitoring tools look for


def cgroups_path(id_: str, *, systemd: bool) -> str:
    """``linux.cgroupsPath`` in the form the cgroup manager expects."""
    return f"machine.slice:libpod:{id_}" if systemd else f"{CGROUP_PARENT}/libpod-{id_}"
