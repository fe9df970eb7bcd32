"""config.json (runtime-spec 1.0.2 and later) from a container's saved configuration."""

from __future__ import annotations

import os

from pyengine import jsontext
from pyengine.errors import ConfigError
from pyengine.specgen import files, mounts, process, seccomp
from pyengine.specgen.cgroups import CGROUP_ROOT, cgroups_path, is_v2
from pyengine.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import ContainerConfig, ProcessSettings, Resources
    from pyengine.specgen.users import User

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

    __slots__ = (
        "bundle", "cgroup", "env", "files", "id", "name", "namespace_paths", "rootfs", "rootless",
        "systemd", "volume_paths",
    )  # fmt: skip

    def __init__(
        self, id_: str, name: str, bundle: str, rootfs: str, *, systemd: bool,
        volume_paths: dict[str, str], cgroup: str = "", rootless: bool = False,
    ) -> None:  # fmt: skip
        """``volume_paths`` holds the directory of each named volume (``mounts.build``).

        ``cgroup`` is the container's where it is not the usual one; ``rootless`` says that we are
        root of an ordinary user's namespace only.
        """
        self.env: list[str] = []  # NAME=VALUE, of this start only
        self.files: dict[str, str] = {}  # by destination, of this start only
        self.cgroup = cgroup
        self.namespace_paths: dict[str, str] = {}  # of other containers, by kind
        self.id, self.name, self.bundle, self.rootfs = id_, name, bundle, rootfs
        self.systemd, self.volume_paths, self.rootless = systemd, volume_paths, rootless


def write(spec: dict[str, Any], bundle: str) -> None:
    """Write config.json."""
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        file.write(jsontext.dumps(spec))


def build(config: ContainerConfig, place: Place) -> dict[str, Any]:
    """The content of config.json; writes the container's files beside it.

    Raises:
        ConfigError: the configuration asks for what the image or this host does not have.
    """
    name = hostname(config, place.id)
    proc, user, more = _process(config, place, name)
    for volume in config["volumes"]:
        if volume["source"].startswith("/") and not os.path.lexists(volume["source"]):
            raise ConfigError(f"statfs {volume['source']}: no such file or directory")
    inside = _files(config, place, name, more)
    every_mount = mounts.build(config, inside, place.volume_paths, (user.uid, user.gid))
    if config["process"]:
        _add_settings(config["process"], place, proc, every_mount)
    root: dict[str, Any] = {"path": place.rootfs}
    if config["read_only"]:
        root["readonly"] = True
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": proc,
        "root": root,
        "hostname": name,
        "mounts": every_mount,
        "annotations": own_annotations(config),
        "linux": _linux(config, place, proc["capabilities"]["bounding"]),
    }
    _confine(spec, config, place)
    return spec


def _process(
    config: ContainerConfig, place: Place, name: str
) -> tuple[dict[str, Any], User, dict[str, str]]:
    """The process, its user, and the files that tell the container of him, by destination."""
    try:
        root_fd = os.open(place.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"rootfs {place.rootfs}: {error.strerror}") from error
    more: dict[str, str] = {}
    try:
        proc, user = process.build(config, root_fd, name)
        if config["process"] or not user.known or not user.group_known:
            from pyengine.specgen import accounts

            more = accounts.add(config, root_fd, user)
    finally:
        os.close(root_fd)
    if place.env:  # stronger than the user's
        names = process.entries(place.env)
        kept = [entry for entry in proc["env"] if entry.partition("=")[0] not in names]
        proc["env"] = [*kept, *place.env]
    return proc, user, more


def _files(
    config: ContainerConfig, place: Place, name: str, more: dict[str, str]
) -> dict[str, str]:
    """Write the container's own files; where each is, by destination."""
    if config["privileged"]:
        more["/run/.containerenv"] = _engine_facts(config, place)
    inside = files.write(place.bundle, config, name, place.name, more)
    if config["id_maps"]:
        from pyengine.specgen import sharing

        sharing.give_away(inside.values(), config["id_maps"])
    inside.update(place.files)
    if label := config["security"].get("mount_label"):
        from pyengine.specgen import selinux

        for source in inside.values():
            if source.startswith(f"{place.bundle}/"):
                selinux.relabel(source, label)
    return inside


def _confine(spec: dict[str, Any], config: ContainerConfig, place: Place) -> None:
    """What namespaces, security options and an ordinary user's powers change in the rest."""
    if config["namespaces"] or ":" in config["network"]:
        from pyengine.specgen import sharing

        sharing.change(spec, config, place.namespace_paths, place.bundle)
    sources: dict[str, str] = {}
    if config["security"]:
        from pyengine.specgen import confinement

        sources = confinement.change(spec, config["security"])
    if place.rootless:
        from pyengine.specgen import rootless

        rootless.change(spec, config, sources, systemd=place.systemd)
    elif config["id_maps"] and sources:
        from pyengine.specgen import devices

        devices.bind_renamed(spec, sources)


def _add_settings(
    settings: ProcessSettings, place: Place, proc: dict[str, Any], every_mount: list[dict[str, Any]]
) -> None:
    from pyengine.specgen import process_mounts

    process_mounts.add(every_mount, settings)
    if settings.get("systemd") and not any(
        entry.startswith("container_uuid=") for entry in proc["env"]
    ):
        proc["env"].append(f"container_uuid={place.id[:32]}")


def _engine_facts(config: ContainerConfig, place: Place) -> str:
    """What podman tells a privileged container in /run/.containerenv."""
    facts = {
        "engine": f"pyengine-{VERSION}", "name": place.name, "id": place.id,
        "image": config["image"], "imageid": config["image_id"],
    }  # fmt: skip
    lines = [f'{name}="{value}"\n' for name, value in facts.items()]
    return "".join([*lines, f"rootless={int(place.rootless)}\n"])


def own_annotations(config: ContainerConfig) -> dict[str, str]:
    """The engine's, and the user's."""
    found = {
        "io.container.manager": "pyengine",
        "org.opencontainers.image.stopSignal": str(config["stop_signal"]),
    }
    if config["process"].get("keep_groups"):
        found["run.oci.keep_original_groups"] = "1"
    return {**found, **config["names"].get("annotations", {})}


def hostname(config: ContainerConfig, id_: str) -> str:
    """The name given, the host's in its network, or the beginning of the id."""
    if config["hostname_given"]:
        return config["hostname_given"]
    if config["network"] == "host" or config["namespaces"].get("uts") == "host":
        return os.uname().nodename
    return id_[:12]


def _linux(config: ContainerConfig, place: Place, bounding: list[str]) -> dict[str, Any]:
    namespaces = ["pid", "ipc", "uts", "mount"]
    if config["network"] == "none":
        namespaces.append("network")
    if is_v2():  # podman: private on cgroup v2 only
        namespaces.append("cgroup")
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in namespaces],
    }
    limits = config["resources"]
    if limits.get("cgroups") != "disabled":
        linux["cgroupsPath"] = place.cgroup or cgroups_path(place.id, limits, systemd=place.systemd)
        linux["resources"] = _resources(limits, privileged=config["privileged"])
    if config["sysctls"]:
        linux["sysctl"] = config["sysctls"]
    if "rdt_class" in limits:
        linux["intelRdt"] = {"closID": limits["rdt_class"]}
    if config["privileged"]:
        from pyengine.specgen import devices

        linux["devices"] = devices.of_host()
    else:
        linux["maskedPaths"] = MASKED_PATHS
        linux["readonlyPaths"] = READONLY_PATHS
    choice = config["seccomp"] or ("unconfined" if config["privileged"] else "")
    own = config["security"].get("seccomp_profile")
    if own and choice != "unconfined":
        linux["seccomp"] = seccomp.from_text(own, "the image's seccomp profile", bounding)
    elif not choice:
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
