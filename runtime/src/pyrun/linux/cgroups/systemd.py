"""The systemd driver: the container's cgroup is a transient scope that systemd makes."""

from __future__ import annotations

from pyrun.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.linux.cgroups.manager import Manager

NO_SYSTEMD = "systemd does not answer; use --cgroup-manager cgroupfs"


def manager(cgroups_path: str, container_id: str, *, rootless: bool) -> Manager:
    """See ``select.manager``; ``cgroups_path`` is ``slice:prefix:name``."""
    raise KernelError(
        f"make a scope for {container_id} from {cgroups_path!r}{rootless * ' as a user'}",
        NO_SYSTEMD,
    )


def from_record(record: dict[str, Any]) -> Manager:
    """See ``select.from_record``."""
    raise KernelError(f"reach the scope {record['scope']}", NO_SYSTEMD)
