"""``pause`` and ``resume``: the freezer stops every process of a container, and lets them go on."""

from __future__ import annotations

from pyrun.container import status
from pyrun.errors import ContainerError
from pyrun.linux.cgroups import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry


def pause(entry: Entry) -> None:
    """Freeze a container; the entry is locked.

    Raises:
        ContainerError: its status does not allow it.
        KernelError: there is no freezer, or the processes did not stand still in time.
    """
    now = status.of(entry, held=True)
    if now not in ("created", "running"):
        problem = f"status is {now}, must be running or created"
        raise ContainerError(f"pause container {entry.id}: {problem}")
    select.from_record(entry.state["cgroup"] or {}).freeze()


def resume(entry: Entry) -> None:
    """Let a paused container go on; the entry is locked.

    Raises:
        ContainerError: it is not paused.
        KernelError: the kernel refused.
    """
    now = status.of(entry, held=True)
    if now != "paused":
        raise ContainerError(f"resume container {entry.id}: status is {now}, must be paused")
    select.from_record(entry.state["cgroup"] or {}).thaw()
