"""config.json's ``mounts``: podman's file systems, the engine's files, then the user's mounts."""

from __future__ import annotations

import os

from pyengine.specgen.mount_options import tmpfs_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.specgen.types import ContainerConfig

SAFE = ["nosuid", "noexec", "nodev"]
SHM_SIZE_BYTES = 65536000  # podman's default
# --read-only leaves these writable, as podman does.
READ_ONLY_TMPFS = ("/run", "/tmp", "/var/tmp")


def build(
    config: ContainerConfig, files: dict[str, str], volume_paths: dict[str, str]
) -> list[dict[str, Any]]:
    """Every mount, parents before children.

    Args:
        config: the container's configuration.
        files: files of the host by their destination, such as ``/etc/hosts``.
        volume_paths: the directory of each named volume.
    """
    writable = config["privileged"]
    entries = {entry["destination"]: entry for entry in _system(host_access=writable)}
    for path, source in files.items():
        options = ["bind", "rprivate"]
        if config["read_only"]:
            options += ["ro", *SAFE]
        entries[path] = _mount(path, "bind", source, options)
    if config["read_only"]:
        for path in READ_ONLY_TMPFS:
            entries[path] = _mount(path, "tmpfs", "tmpfs", tmpfs_options([]))
    for path, options in config["tmpfs"].items():
        entries[_clean(path)] = _mount(path, "tmpfs", "tmpfs", options)
    for volume in config["volumes"]:
        source = volume["source"] or volume_paths[volume["name"]]
        path = volume["destination"]
        entries[_clean(path)] = _mount(path, "bind", source, volume["options"])
    # The order of equal depths is the order given; a parent must not hide what is below it.
    return sorted(entries.values(), key=lambda entry: _clean(entry["destination"]).count("/"))


def _clean(path: str) -> str:
    return os.path.normpath(path)


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _system(*, host_access: bool) -> list[dict[str, Any]]:
    access = "rw" if host_access else "ro"
    cgroup = ["rprivate", *SAFE, "relatime", access]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    dev = ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]
    shm = [*SAFE, "mode=1777", f"size={SHM_SIZE_BYTES}"]
    return [
        _mount("/proc", "proc", "proc", SAFE),
        _mount("/dev", "tmpfs", "tmpfs", dev),
        _mount("/sys", "sysfs", "sysfs", [*SAFE, access]),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount("/dev/mqueue", "mqueue", "mqueue", SAFE),
        _mount("/dev/shm", "tmpfs", "shm", shm),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", cgroup),
    ]
