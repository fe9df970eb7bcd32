"""config.json's ``mounts``: podman's file systems, the engine's files, then the user's mounts."""

from __future__ import annotations

import os

from pyengine.specgen.mount_options import SYSTEMD_TMPFS, tmpfs_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import ContainerConfig

SAFE = ["nosuid", "noexec", "nodev"]
SHM_SIZE_BYTES = 65536000  # podman's default
# --read-only leaves these writable, as podman does.
READ_ONLY_TMPFS = ("/run", "/tmp", "/var/tmp")


def build(
    config: ContainerConfig,
    files: dict[str, str],
    volume_paths: dict[str, str],
    owner: tuple[int, int] = (0, 0),
) -> list[dict[str, Any]]:
    """Every mount, parents before children.

    Args:
        config: the container's configuration.
        files: files of the host by their destination, such as ``/etc/hosts``.
        volume_paths: the directory of each named volume, and sources by their destination that
            were made for this start.
        owner: user and group of the container's process.
    """
    writable = config["privileged"]
    settings = config["mounts"]
    system = _system(settings.get("shm_size_bytes", SHM_SIZE_BYTES), host_access=writable)
    entries = {entry["destination"]: entry for entry in system}
    for path, source in files.items():
        options = ["bind", "rprivate"]
        if config["read_only"]:
            options += ["ro", *SAFE]
        entries[path] = _mount(path, "bind", source, options)
    if config["read_only"] and not settings.get("no_read_only_tmpfs"):
        for path in READ_ONLY_TMPFS:
            entries[path] = _mount(path, "tmpfs", "tmpfs", tmpfs_options([]))
    for path, options in config["tmpfs"].items():
        options = _owned(options, owner)
        if path in SYSTEMD_TMPFS and config["process"].get("systemd"):
            options = _sized(options, settings.get("shm_size_systemd_bytes", 0))
        entries[_clean(path)] = _mount(path, "tmpfs", "tmpfs", options)
    for volume in config["volumes"]:
        path = volume["destination"]
        kind = volume.get("kind", "bind")
        if kind in ("devpts", "ramfs"):
            source, options = kind, volume["options"]
            if volume.get("chown"):
                options = _owned([*options, "U"], owner)
        else:
            kind = "bind"
            source = volume_paths.get(path) or volume["source"] or volume_paths[volume["name"]]
            options = volume["options"]
            if not config["id_maps"]:  # there is nothing to map to
                options = [word for word in options if word != "idmap"]
        entries[_clean(path)] = _mount(path, kind, source, options)
    # The order of equal depths is the order given; a parent must not hide what is below it.
    return sorted(entries.values(), key=lambda entry: _clean(entry["destination"]).count("/"))


def _owned(options: list[str], owner: tuple[int, int]) -> list[str]:
    """``U`` gives a new file system to the container's user."""
    if "U" not in options:
        return options
    return [*(word for word in options if word != "U"), f"uid={owner[0]}", f"gid={owner[1]}"]


def _sized(options: list[str], size_bytes: int) -> list[str]:
    if not size_bytes or any(word.startswith("size=") for word in options):
        return options
    return [*options, f"size={size_bytes}"]


def _clean(path: str) -> str:
    return os.path.normpath(path)


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _system(shm_size_bytes: int, *, host_access: bool) -> list[dict[str, Any]]:
    access = "rw" if host_access else "ro"
    cgroup = ["rprivate", *SAFE, "relatime", access]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    dev = ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]
    shm = [*SAFE, "mode=1777", *([f"size={shm_size_bytes}"] if shm_size_bytes else [])]
    return [
        _mount("/proc", "proc", "proc", SAFE),
        _mount("/dev", "tmpfs", "tmpfs", dev),
        _mount("/sys", "sysfs", "sysfs", [*SAFE, access]),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount("/dev/mqueue", "mqueue", "mqueue", SAFE),
        _mount("/dev/shm", "tmpfs", "shm", shm),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", cgroup),
    ]
