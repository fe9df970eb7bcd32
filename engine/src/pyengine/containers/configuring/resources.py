"""The options of the section ``resources``: limits."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.specgen.options import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import Resources

MIN_MEMORY_BYTES = 6 << 20  # docker's floor: below it a container cannot start
CPU_PERIOD_US = 100_000
MAX_LIMIT = 2**63 - 1  # what the kernel can count


def configure(wanted: ContainerOptions) -> Resources:
    """The limits in the kernel's units.

    Raises:
        ConfigError: a limit is no number, or out of range.
    """
    found: Resources = {}
    if wanted.memory is not None:
        limit = size("--memory", wanted.memory)
        if 0 < limit < MIN_MEMORY_BYTES:
            raise ConfigError(f"--memory {wanted.memory}: must be at least 6m")
        if 2 * limit > MAX_LIMIT:  # memory and swap together
            raise ConfigError(f"--memory {wanted.memory}: must be below {MAX_LIMIT // 2 + 1} bytes")
        if limit:
            found["memory_limit_bytes"] = limit
    cpus = wanted.cpus
    if cpus:
        if not 0.01 <= cpus <= (os.cpu_count() or 1):  # not a number is neither
            raise ConfigError(
                f"--cpus {cpus}: must be between 0.01 and {os.cpu_count()}, the CPUs of this host"
            )
        found["cpu_quota_us"] = int(cpus * CPU_PERIOD_US)
        found["cpu_period_us"] = CPU_PERIOD_US
    pids_limit = wanted.pids_limit
    if pids_limit is not None:
        if pids_limit > MAX_LIMIT:
            raise ConfigError(f"--pids-limit {pids_limit}: must be below {MAX_LIMIT + 1}")
        found["pids_limit"] = max(pids_limit, 0)
    return found
