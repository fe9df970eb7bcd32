"""Limits, as config.json's ``linux.resources``."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import Resources

MEMORY = {
    "memory_reservation_bytes": "reservation", "memory_swappiness": "swappiness",
    "oom_kill_disable": "disableOOMKiller",
}  # fmt: skip
CPU = {
    "cpu_quota_us": "quota", "cpu_period_us": "period", "cpu_shares": "shares",
    "cpu_rt_runtime_us": "realtimeRuntime", "cpu_rt_period_us": "realtimePeriod",
    "cpuset_cpus": "cpus", "cpuset_mems": "mems",
}  # fmt: skip


def build(limits: Resources) -> dict[str, Any]:
    """What the user asked for, without the defaults.

    Raises:
        ConfigError: a device is gone.
    """
    found: dict[str, Any] = {}
    if limits.get("pids_limit"):
        found["pids"] = {"limit": limits["pids_limit"]}
    memory = _named(limits, MEMORY)
    if "memory_limit_bytes" in limits:
        limit = limits["memory_limit_bytes"]
        # As podman without --memory-swap.
        memory = {"limit": limit, "swap": limits.get("memory_swap_bytes", 2 * limit), **memory}
    parts = {"memory": memory, "cpu": _named(limits, CPU), "blockIO": _block_io(limits)}
    found.update({name: values for name, values in parts.items() if values})
    if "cgroup_conf" in limits:
        found["unified"] = limits["cgroup_conf"]
    return found


def _named(limits: Resources, names: dict[str, str]) -> dict[str, Any]:
    return {key: limits[name] for name, key in names.items() if name in limits}  # type: ignore[literal-required]  # the tables name keys


def _block_io(limits: Resources) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "blkio_weight" in limits:
        found["weight"] = limits["blkio_weight"]
    for key, devices in limits.get("blkio_devices", {}).items():
        value_key = "weight" if key == "weightDevice" else "rate"
        found[key] = [{**_numbers(path), value_key: value} for path, value in devices]
    return found


def _numbers(path: str) -> dict[str, int]:
    try:
        device = os.stat(path).st_rdev
    except OSError as error:
        raise ConfigError(f"limit the I/O of {path}: {error.strerror}") from error
    return {"major": os.major(device), "minor": os.minor(device)}
