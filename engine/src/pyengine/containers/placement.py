"""A container without a cgroup of its own, or with one beside the monitor's (``--cgroups``)."""

from __future__ import annotations

import os

from pyengine.errors import ConfigError
from pyengine.specgen.cgroups import CGROUP_ROOT, SUPERVISOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.monitor.start import Call
    from pyengine.ocirun.call import Runtime

# Runtimes that know --cgroup-manager=disabled.
WITHOUT_CGROUPS = ("pyrun", "crun")


def check_parent(parent: str, *, systemd: bool) -> None:
    """Raise ConfigError where ``--cgroup-parent`` is not of the cgroup manager's kind."""
    is_slice = parent.endswith(".slice")
    if systemd and not is_slice:
        raise ConfigError(
            "did not receive systemd slice as cgroup parent when using systemd to manage cgroups:"
            f" {parent} should end in .slice"
        )
    if is_slice and not systemd:
        raise ConfigError(
            f"systemd slice {parent} received as cgroup parent when using cgroupfs: give a path,"
            " or --cgroup-manager systemd"
        )


def prepare(how: str, call: Call, runtime: Runtime) -> str:
    """Prepare the monitor's call; the answer is ``linux.cgroupsPath``, empty for the usual one.

    Raises:
        ConfigError: the runtime, or the cgroup that this process is in, does not allow it.
    """
    if how == "disabled":
        if not os.path.basename(os.path.realpath(runtime.path)).startswith(WITHOUT_CGROUPS):
            raise ConfigError(
                f"requested OCI runtime {runtime.name} is not compatible with NoCgroups: use"
                f" {' or '.join(WITHOUT_CGROUPS)}"
            )
        call.arguments.append("--runtime-arg=--cgroup-manager=disabled")
        return ""
    return _split(call.id)


def _split(id_: str) -> str:
    """Move this process, and so its monitor, below the cgroup that it is in."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        own = file.read().strip().rpartition("::")[2]
    if own.rpartition("/")[2] == SUPERVISOR:
        own = own.rpartition("/")[0]
    directory = f"{CGROUP_ROOT}{own.rstrip('/')}/{SUPERVISOR}"
    try:
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/cgroup.procs", "w", encoding="utf-8") as file:
            file.write("0")
    except OSError as error:
        raise ConfigError(f"--cgroups=split: move to {directory}: {error.strerror}") from error
    return f"{own.rstrip('/')}/libpod-payload-{id_}"
