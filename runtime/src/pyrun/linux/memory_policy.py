"""The NUMA memory policy (runtime-spec config-linux.md, "Memory policy"; set_mempolicy(2))."""

from __future__ import annotations

from pyrun import lists, syscalls
from pyrun.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}  # fmt: skip


def apply(asked: dict[str, Any]) -> None:
    """Set ``linux.memoryPolicy`` for this process and its children; already validated.

    Raises:
        KernelError: the kernel refused.
    """
    mode = MODES[asked["mode"]]
    for name in asked.get("flags") or ():
        mode |= FLAGS[name]
    nodes = asked.get("nodes") or ""
    mask = sum(1 << node for node in lists.parse(nodes)) if nodes else 0
    try:
        syscalls.set_mempolicy(mode, mask)
    except OSError as error:
        what = f"{asked['mode']} {nodes}".strip()
        raise KernelError(f"set the memory policy {what}", error) from error
