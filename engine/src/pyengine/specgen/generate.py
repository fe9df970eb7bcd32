"""config.json (runtime-spec 1.0.2 and later) from a container's saved configuration."""

from __future__ import annotations

import os

from pyengine import jsontext
from pyengine.errors import ConfigError
from pyengine.specgen import files, mounts, process, seccomp
from pyengine.specgen.cgroups import CGROUP_ROOT, cgroups_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import ContainerConfig, Resources

OCI_VERSION = "1.0.2"
PIDS_LIMIT = 2048

MASKED_PATHS = [
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/fs/selinux",
    "/sys/dev/block", "/sys/devices/virtual/powercap",
]  # fmt: skip
READONLY_PATHS = [
    "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
]  # fmt: skip


class Place:
    """Where one start of a container happens."""

    __slots__ = ("bundle", "id", "name", "rootfs", "systemd", "volume_paths")

    def __init__(
        self, id_: str, name: str, bundle: str, rootfs: str, *, systemd: bool,
        volume_paths: dict[str, str],
    ) -> None:  # fmt: skip
        """``volume_paths`` holds the directory of each named volume."""
        self.id, self.name, self.bundle, self.rootfs = id_, name, bundle, rootfs
        self.systemd, self.volume_paths = systemd, volume_paths


def write(config: ContainerConfig, place: Place) -> dict[str, Any]:
    """Write config.json and the files it mounts into the bundle; the answer is its content.

    Raises:
        ConfigError: the configuration asks for what the image or this host does not have.
    """
    spec = build(config, place)
    path = f"{place.bundle}/config.json"
    with open(path, "w", encoding="utf-8") as file:
        file.write(jsontext.dumps(spec))
    return spec


def build(config: ContainerConfig, place: Place) -> dict[str, Any]:
    """The content of config.json; writes the container's files beside it."""
    name = hostname(config, place.id)
    try:
        root_fd = os.open(place.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"rootfs {place.rootfs}: {error.strerror}") from error
    try:
        proc = process.build(config, root_fd, name)
    finally:
        os.close(root_fd)
    for volume in config["volumes"]:
        if volume["source"] and not os.path.exists(volume["source"]):
            raise ConfigError(f"statfs {volume['source']}: no such file or directory")
    inside = files.write(place.bundle, config, name, place.name)
    root: dict[str, Any] = {"path": place.rootfs}
    if config["read_only"]:
        root["readonly"] = True
    return {
        "ociVersion": OCI_VERSION,
        "process": proc,
        "root": root,
        "hostname": name,
        "mounts": mounts.build(config, inside, place.volume_paths),
        "annotations": {
            "io.container.manager": "pyengine",
            "org.opencontainers.image.stopSignal": str(config["stop_signal"]),
        },
        "linux": _linux(config, place, proc["capabilities"]["bounding"]),
    }


def hostname(config: ContainerConfig, id_: str) -> str:
    """The name given, the host's in its network, or the beginning of the id."""
    if config["hostname_given"]:
        return config["hostname_given"]
    return os.uname().nodename if config["network"] == "host" else id_[:12]


def _linux(config: ContainerConfig, place: Place, bounding: list[str]) -> dict[str, Any]:
    namespaces = ["pid", "ipc", "uts", "mount"]
    if config["network"] == "none":
        namespaces.append("network")
    if os.path.exists(f"{CGROUP_ROOT}/cgroup.controllers"):  # podman: private on cgroup v2 only
        namespaces.append("cgroup")
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in namespaces],
        "cgroupsPath": cgroups_path(place.id, systemd=place.systemd),
        "resources": _resources(config["resources"], privileged=config["privileged"]),
    }
    if config["privileged"]:
        from pyengine.specgen import devices

        linux["devices"] = devices.of_host()
    else:
        linux["maskedPaths"] = MASKED_PATHS
        linux["readonlyPaths"] = READONLY_PATHS
    choice = config["seccomp"] or ("unconfined" if config["privileged"] else "")
    if not choice:
        linux["seccomp"] = seccomp.default(bounding)
    elif choice != "unconfined":
        linux["seccomp"] = seccomp.from_file(choice, bounding)
    return linux


def _resources(limits: Resources, *, privileged: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"devices": [{"allow": privileged, "access": "rwm"}]}
    if limits:
        from pyengine.specgen import resources

        found.update(resources.build(limits))
    if "pids_limit" not in limits and (pids := _default_pids_limit()):
        found["pids"] = {"limit": pids}
    return found


def _default_pids_limit() -> int:
    """podman's, where the host can count; nobody asked for it, so elsewhere it is no error."""
    try:
        with open(f"{CGROUP_ROOT}/cgroup.controllers", encoding="utf-8") as file:
            return PIDS_LIMIT if "pids" in file.read().split() else 0
    except FileNotFoundError:
        return PIDS_LIMIT if os.path.isdir(f"{CGROUP_ROOT}/pids") else 0
