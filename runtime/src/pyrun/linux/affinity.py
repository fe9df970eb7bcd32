"""Processors for a process of ``exec`` (runtime-spec config.md, ``execCPUAffinity``)."""

from __future__ import annotations

import posix

from pyrun import lists
from pyrun.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def apply(process: dict[str, Any], when: str) -> None:
    """Move this process to the processors that it asks for.

    Args:
        process: ``process`` of config.json.
        when: ``initial``, before it joins the container's cgroup, or ``final``, after that.

    Raises:
        KernelError: the kernel refused, such as for a processor that there is not.
    """
    text = (process.get("execCPUAffinity") or {}).get(when)
    if not text:
        return
    try:
        posix.sched_setaffinity(0, lists.parse(text))
    except OSError as error:
        raise KernelError(f"run on the processors {text} (execCPUAffinity)", error) from error
