"""What differs in config.json where an ordinary user's root of a user namespace is the caller.

Such a root makes no devices, mounts nothing that belongs to the host, and has the cgroups only
that somebody gave to the user.
"""

from __future__ import annotations

from pyengine.config import user
from pyengine.errors import ConfigError
from pyengine.specgen import sharing
from pyengine.specgen.cgroups import CGROUP_ROOT, is_v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import ContainerConfig, Resources

USER_SLICE = "user.slice"  # podman's, below the user's own manager
# What the keys of the options begin with, and what they need.
CONTROLLERS = {
    "memory_": "memory", "oom_kill_disable": "memory", "cpu_": "cpu", "cpuset_": "cpuset",
    "blkio_": "io", "pids_limit": "pids",
}  # fmt: skip
# What a runtime makes of itself, by binding too.
USUAL = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}


def change(
    spec: dict[str, Any], config: ContainerConfig, sources: dict[str, str], *, systemd: bool
) -> None:
    """Change config.json, which is that of root's container.

    ``sources`` are the devices of the host by their names inside, where these differ.
    """
    linux = spec["linux"]
    if "cgroupsPath" in linux:
        _give_cgroup(linux, config, systemd=systemd)
    _bind_devices(spec, sources)
    sharing.bind_what_is_the_hosts(spec, config)
    if not config["id_maps"]:
        sharing.drop_tty_group(spec["mounts"], _group_map())
    if _denies_setgroups():
        spec["process"]["user"].pop("additionalGids", None)


def check_limits(limits: Resources, *, systemd: bool) -> None:
    """Raise ConfigError where nobody gave the user what the limits need."""
    needed = {
        controller
        for key in limits
        for prefix, controller in CONTROLLERS.items()
        if key.startswith(prefix)
    }
    if not needed or ("pids" in needed and limits.get("pids_limit", 1) <= 0 and len(needed) == 1):
        return
    if not is_v2():
        raise ConfigError(
            "resource limits are not supported on cgroups V1 rootless systems: only cgroup v2 can"
            " be given to a user: run it as root, or boot with systemd.unified_cgroup_hierarchy=1"
        )
    if systemd:
        missing = sorted(needed - set(delegated(user.user_id(), systemd=True)))
        if missing:
            raise ConfigError(
                f"resource limits: user {user.user_id()} was not given the cgroup controllers"
                f" {' '.join(missing)}: let root run `systemctl edit user@.service` and add"
                " [Service] Delegate=cpu cpuset io memory pids"
            )


def delegated(uid: int, *, systemd: bool) -> list[str]:
    """The controllers of cgroup v2 that containers of a user may have limits of.

    With cgroupfs these are the runtime's own, which it may find nowhere to use.
    """
    own = f"/{USER_SLICE}/user-{uid}.slice/user@{uid}.service" if systemd else _own_cgroup()
    try:
        with open(f"{CGROUP_ROOT}{own}/cgroup.controllers", encoding="utf-8") as file:
            return file.read().split()
    except OSError:
        return []


def _own_cgroup() -> str:
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        return file.read().rpartition("0::")[2].strip().rstrip("/")


def _give_cgroup(linux: dict[str, Any], config: ContainerConfig, *, systemd: bool) -> None:
    """What the user asked for stays; the runtime says where it cannot be."""
    limits, resources = config["resources"], linux["resources"]
    del resources["devices"]  # needs the right to load programs into the kernel
    if systemd:
        if not limits.get("cgroup_parent"):
            _, prefix, name = linux["cgroupsPath"].split(":")
            linux["cgroupsPath"] = f"{USER_SLICE}:{prefix}:{name}"
    elif not limits.get("cgroup_parent") and limits.get("cgroups") != "split":
        del linux["cgroupsPath"]  # as podman: the runtime looks for a place below its own cgroup
    if "pids_limit" not in limits and not (
        systemd and "pids" in delegated(user.user_id(), systemd=True)
    ):
        resources.pop("pids", None)


def _bind_devices(spec: dict[str, Any], sources: dict[str, str]) -> None:
    """Nodes of the host, which their owners let us open, instead of new ones."""
    nodes = [one for one in spec["linux"].pop("devices", []) if one["path"] not in USUAL]
    if not nodes:
        return
    from pyengine.specgen import devices

    devices.bind(spec["mounts"], {one["path"]: sources.get(one["path"], one["path"])
                                  for one in nodes})  # fmt: skip


def _group_map() -> list[list[int]]:
    with open("/proc/self/gid_map", encoding="ascii") as file:
        return [[int(word) for word in line.split()] for line in file]


def _denies_setgroups() -> bool:
    with open("/proc/self/setgroups", encoding="ascii") as file:
        return file.read().strip() == "deny"
