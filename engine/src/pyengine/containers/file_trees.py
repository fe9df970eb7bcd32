"""A container's root file system as a tree on the host: for a moment, or until it is unmounted."""

from __future__ import annotations

import os

from pyengine import syscalls
from pyengine.containers import record
from pyengine.errors import ConflictError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container


def layers(host: Host, container: Container) -> list[str]:
    """The directories of its image's layers, bottom first."""
    storage = host.storage
    return [storage.layer_path(diff_id) for diff_id in storage.container_layers(container.id)]


def upper(host: Host, container: Container) -> str | None:
    """The directory of its changes in overlay's form; None where changes are kept otherwise."""
    directory = f"{host.storage.container_directory(container.id)}/diff"
    return directory if os.path.isdir(directory) else None


def shown(host: Host, container: Container) -> str:
    """The path of the whole tree; what is not mounted is mounted for this process alone.

    The kernel takes such a mount away with the process. Until then the container's lock keeps
    others from starting it, because two overlays must not share an upper directory.

    Raises:
        ConflictError: it was started or removed in this moment.
        StorageError: it cannot be mounted.
    """
    if container.config["rootfs"]:
        if not container.config["mounts"].keys() & {"rootfs_idmap", "rootfs_overlay"}:
            return container.config["rootfs"]
        from pyengine.containers import mount_sources

        return mount_sources.show_rootfs(host, container)
    merged = f"{host.storage.container_directory(container.id)}/merged"
    if container.live or os.path.ismount(merged):
        return merged
    if host.database.locks.acquire(host.lock_name(container.id), wait=True) is None:
        raise ConflictError(f"container {container.name}: its lock cannot be taken")
    _prepare(host, container)
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE, None)
    except OSError as error:
        raise StorageError(f"mount container {container.name}: {error.strerror}") from error
    return host.storage.mount(container.id, label=record.mount_label(container))


def _prepare(host: Host, container: Container) -> None:
    """Under the lock: the directories of a container that was never started."""
    current = record.by_id(host, container.id)
    if current is None or record.observe(host, current).live != container.live:
        raise ConflictError(f"container {container.name} was started or removed: try again")
    if container.started_at is None and not container.live:
        host.storage.create_container(
            container.id, host.storage.container_layers(container.id), record.id_maps(container)
        )


def mount(host: Host, container: Container) -> str:
    """Show the tree until ``unmount``, also after the container's end; the answer is its path."""
    if container.config["rootfs"]:
        return container.config["rootfs"]
    with host.locked(container.id):
        _prepare(host, container)
        if container.started_at is None:
            host.storage.keep(container.id)
        with open(_mark(host, container.id), "w", encoding="utf-8") as file:
            file.write(host.boot_id)
        path = host.storage.mount(container.id, label=record.mount_label(container))
    host.tell(container, "mount")
    return path


def unmount(host: Host, container: Container, *, force: bool) -> None:
    """Take away what ``mount`` shows; a container that runs keeps its root file system.

    Raises:
        ConflictError: ``mount`` was not called, and ``force`` is false.
    """
    with host.locked(container.id):
        if not is_mounted(host, container.id):
            if force:
                return
            raise ConflictError(f"container {container.name} is not mounted")
        os.unlink(_mark(host, container.id))
        current = record.by_id(host, container.id)
        if current is None or not record.observe(host, current).live:
            host.storage.unmount(container.id)
    host.tell(container, "unmount")


def is_mounted(host: Host, id_: str) -> bool:
    """Whether ``mount`` was called, in this boot."""
    try:
        with open(_mark(host, id_), encoding="utf-8") as file:
            return file.read() == host.boot_id
    except FileNotFoundError:
        return False


def mounted_path(host: Host, container: Container) -> str | None:
    """Where the tree can be seen on the host, by ``mount`` or because the container runs."""
    merged = f"{host.storage.container_directory(container.id)}/merged"
    return merged if os.path.ismount(merged) else None


def _mark(host: Host, id_: str) -> str:
    return f"{host.storage.container_directory(id_)}/mounted"
