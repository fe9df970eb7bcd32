"""The named volumes of a container while it runs: made, filled, mounted; and given back."""

from __future__ import annotations

import os

from pyengine.volumes import first_use, local, model
from pyengine.volumes.directories import lock_name, volume_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.specgen.types import Volume as Mount


def take(host: Host, container: Container, rootfs: str) -> None:
    """Make every named volume of a container ready to be mounted into it.

    Raises:
        StorageError: one cannot be made, filled or mounted.
        ConfigError: the container's user, who owns a new volume, is not in the image.
    """
    mounts = [one for one in container.config["volumes"] if one["name"]]
    if not mounts:
        return
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for mount in mounts:
            volume = model.by_name(host.database, mount["name"])
            assert volume is not None  # container_volumes refers to it
            if _is_ready(host, volume):
                continue
            with host.database.locks.hold(lock_name(volume.name)):
                _take_one(host, container, mount, root_fd)
    finally:
        os.close(root_fd)


def _is_ready(host: Host, volume: model.Volume) -> bool:
    fresh = volume.needs_chown or volume.needs_copy_up
    return not (fresh or volume.is_mounted_for_use) and os.path.isdir(
        volume_path(host.root, volume.name)
    )


def _take_one(host: Host, container: Container, mount: Mount, root_fd: int) -> None:
    volume = model.by_name(host.database, mount["name"])  # as it is now that we have its lock
    assert volume is not None
    local.attach(host.database, host.root, volume, container.id, host.boot_id)
    if not (volume.needs_chown or volume.needs_copy_up):
        return
    from pyengine.specgen import users

    user = users.look_up(root_fd, container.config["user"])
    place = first_use.MountPoint(
        root_fd, mount["destination"], (user.uid, user.gid), copies=mount.get("copy", True)
    )
    first_use.prepare(host.database, host.root, volume, place)


def give_back(host: Host, container: Container) -> None:
    """Unmount what nobody else uses; nothing where nothing was taken. Can be repeated.

    Raises:
        StorageError: the kernel refuses.
    """
    if not any(one["name"] for one in container.config["volumes"]):
        return
    with host.database.read() as connection:
        rows = connection.execute(
            "SELECT volume FROM volume_mounts WHERE user = ?", (container.id,)
        ).fetchall()
    for (name,) in rows:
        with host.database.locks.hold(lock_name(name)):
            local.detach(host.database, host.root, name, container.id)
