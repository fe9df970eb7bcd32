"""Limits, as config.json's ``linux.resources``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import Resources


def build(limits: Resources) -> dict[str, Any]:
    """What the user asked for, without the defaults."""
    found: dict[str, Any] = {}
    if limits.get("pids_limit"):
        found["pids"] = {"limit": limits["pids_limit"]}
    memory = limits.get("memory_limit_bytes")
    if memory:
        found["memory"] = {"limit": memory, "swap": 2 * memory}  # as podman without --memory-swap
    if "cpu_quota_us" in limits:
        found["cpu"] = {"quota": limits["cpu_quota_us"], "period": limits["cpu_period_us"]}
    return found
