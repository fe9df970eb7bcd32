"""What a container mounts, made ready on the host before its start, and given back after its end.

Named volumes are made, filled and mounted. Overlays, images and parts of either are mounted below
``RUNROOT/mounts/ID``, and bound into the container from there; what is written to an overlay goes
to ``ROOT/containers/ID/overlays``. Nothing but ``give_back`` removes below the first of these, and
never before everything there is unmounted.
"""

from __future__ import annotations

import errno
import os
import stat

from pyengine import syscalls
from pyengine.containers import record
from pyengine.errors import ConfigError, StorageError
from pyengine.storage import overlay, trees
from pyengine.storage.idmapped import on_host
from pyengine.volumes import first_use, local, model
from pyengine.volumes.directories import lock_name, volume_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.specgen.types import Volume as Mount
    from pyengine.storage.overlay import IdMaps


def take(host: Host, container: Container, rootfs: str) -> dict[str, str]:
    """Make everything ready; the answer is the source of each mount that is not plainly a path.

    Keys are destinations.

    Raises:
        StorageError: something cannot be made, filled or mounted.
        ConfigError: the container's user, who owns a new volume, is not in the image, or a
            directory must not be given another owner.
    """
    sources: dict[str, str] = {}
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, mount in enumerate(container.config["volumes"]):
            kind = mount.get("kind")
            if kind in ("devpts", "ramfs"):
                continue
            path = mount["source"]
            if mount["name"]:
                path, read_only = _take_volume(host, container, mount, root_fd)
                if read_only:
                    words = mount["options"]
                    mount["options"] = ["ro" if word == "rw" else word for word in words]
            if kind == "image" or mount.keys() & {"overlay", "subpath"}:
                path = _prepare(host, container, mount, place, path)
            if mount.get("relabel") and (label := record.mount_label(container)):
                from pyengine.specgen import selinux

                selinux.relabel(path, label, shared=mount["relabel"] == "z")
            if mount.get("chown"):
                _chown_tree(path, _owner(container, root_fd))
            if path != mount["source"]:
                sources[mount["destination"]] = path
    finally:
        os.close(root_fd)
    return sources


def give_back(host: Host, container: Container) -> None:
    """Unmount what nobody else uses; nothing where nothing was taken. Can be repeated.

    Raises:
        StorageError: the kernel refuses.
    """
    config = container.config
    if not config["volumes"] and not config["mounts"].keys() & {"rootfs_overlay", "rootfs_idmap"}:
        return
    directory = _mounts(host, container.id)
    if os.path.isdir(directory):
        for name in sorted(os.listdir(directory), reverse=True):
            _unmount_all(f"{directory}/{name}")
        trees.remove_tree(directory)
    trees.remove_tree(_overlays(host, container.id))
    if not any(one["name"] for one in config["volumes"]):
        return
    with host.database.read() as connection:
        rows = connection.execute(
            "SELECT volume FROM volume_mounts WHERE user = ?", (container.id,)
        ).fetchall()
    for (name,) in rows:
        with host.database.locks.hold(lock_name(name)):
            local.detach(host.database, host.root, name, container.id)


def take_private(host: Host, container: Container, rootfs: str) -> dict[str, str]:
    """What a stopped container would have of the host, by destination; for this process alone.

    To be called in a mount namespace of its own: nothing is given back. Overlays and images are
    left out, because what is written there goes with the container's end.

    Raises:
        StorageError: a volume cannot be made, filled or mounted.
    """
    sources: dict[str, str] = {}
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for mount in container.config["volumes"]:
            if "kind" in mount or mount.keys() & {"overlay", "subpath"}:
                continue
            path = mount["source"]
            if mount["name"]:
                path, _ = _take_volume(host, container, mount, root_fd, private=True)
            if os.path.exists(path):
                sources[mount["destination"]] = path
    finally:
        os.close(root_fd)
    return sources


def take_rootfs(host: Host, container: Container) -> str:
    """The directory of ``--rootfs``, with ``:O`` an overlay on it, or with ``:idmap`` mapped."""
    config = container.config
    if "rootfs_idmap" in config["mounts"]:
        from pyengine.containers.configuring import rootfs

        target = f"{_mounts(host, container.id)}/rootfs"
        os.makedirs(target, mode=0o700, exist_ok=True)
        rootfs.mount(config, target)
        return target
    if not config["mounts"].get("rootfs_overlay"):
        return config["rootfs"]
    return _overlay(host, container.id, "rootfs", [config["rootfs"]], {}, writable=True)


def show_rootfs(host: Host, container: Container) -> str:
    """The tree of ``--rootfs`` as the container sees it; mapped for this process alone if need be.

    Raises:
        StorageError: it cannot be mapped.
    """
    mounted = f"{_mounts(host, container.id)}/rootfs"
    if os.path.ismount(mounted):
        return mounted
    directory = container.config["rootfs"]
    if "rootfs_idmap" in container.config["mounts"]:
        from pyengine.containers.configuring import rootfs

        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE, None)
        rootfs.mount(container.config, directory)
    return directory


def _mounts(host: Host, id_: str) -> str:
    return f"{host.runroot}/mounts/{id_}"


def _overlays(host: Host, id_: str) -> str:
    return f"{host.storage.container_directory(id_)}/overlays"


def _take_volume(
    host: Host, container: Container, mount: Mount, root_fd: int, *, private: bool = False
) -> tuple[str, bool]:
    """The volume's path, its content in place, and whether its own options say read-only.

    ``private`` ones are not counted as mounted.
    """
    path = volume_path(host.root, mount["name"])
    volume = model.by_name(host.database, mount["name"])
    assert volume is not None  # container_volumes refers to it
    fresh = volume.needs_chown or volume.needs_copy_up
    if not fresh and not volume.is_mounted_for_use and os.path.isdir(path):
        return path, False
    with host.database.locks.hold(lock_name(volume.name)):
        volume = model.by_name(host.database, mount["name"])  # as it is now
        assert volume is not None
        if private and volume.is_mounted_for_use:
            if not os.path.ismount(path):
                local.mount(volume, path)
            return path, local.is_read_only(volume)
        local.attach(host.database, host.root, volume, container.id, host.boot_id)
        if volume.needs_chown or volume.needs_copy_up:
            first = first_use.MountPoint(
                root_fd, mount["destination"], _owner(container, root_fd),
                copies=mount.get("copy", True),
            )  # fmt: skip
            first_use.prepare(host.database, host.root, volume, first)
            if label := record.mount_label(container):
                from pyengine.specgen import selinux

                selinux.relabel(path, label, shared=True)  # any container may use a volume
    return path, local.is_read_only(volume)


def _owner(container: Container, root_fd: int) -> tuple[int, int]:
    """Who the container's process is, on the host."""
    from pyengine.specgen import users

    user = users.look_up(root_fd, container.config["user"])
    return record.on_host(container, user.uid, user.gid)


def _prepare(host: Host, container: Container, mount: Mount, place: int, path: str) -> str:
    id_, name = container.id, f"{place:04}"
    if mount.get("kind") == "image":
        layers = _image_layers(host, mount["source"])
        writable = "rw" in mount["options"]
        id_maps = record.id_maps(container)
        if id_maps is not None and not host.storage.maps_owners:
            id_maps = None  # what it holds is nobody's, then
        path = _overlay(host, id_, name, layers, {}, writable=writable, id_maps=id_maps)
    elif "overlay" in mount:
        path = _overlay(host, id_, name, [path], mount["overlay"], writable=True)
    if "subpath" in mount:
        path = _part(f"{_mounts(host, id_)}/{name}-part", path, mount)
    return path


def _image_layers(host: Host, image_id: str) -> list[str]:
    with host.database.read() as connection:
        rows = connection.execute(
            "SELECT diff_id FROM image_layers WHERE image_id = ? ORDER BY position", (image_id,)
        ).fetchall()
        known = connection.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone()
    if not known:
        raise StorageError(f"mount image {image_id[:12]}: it was removed: pull or load it again")
    return [host.storage.layer_path(row[0]) for row in rows]


def _overlay(
    host: Host,
    id_: str,
    name: str,
    layers: list[str],
    given: dict[str, str],
    *,
    writable: bool,
    id_maps: IdMaps | None = None,
) -> str:
    """Mount an overlay and return its path; ``given`` may hold the user's upperdir and workdir."""
    target = f"{_mounts(host, id_)}/{name}"
    own = f"{_overlays(host, id_)}/{name}"
    upper, work = given.get("upperdir", f"{own}/upper"), given.get("workdir", f"{own}/work")
    try:
        os.makedirs(target, mode=0o700, exist_ok=True)
        if not os.path.isdir(layers[-1]):
            raise StorageError(f"overlay mount of {layers[-1]}: it is no directory")
        if not writable:
            empty = f"{own}/empty"
            os.makedirs(empty, exist_ok=True)
            # Without an upper directory the kernel wants two lower ones.
            program = host.storage.mount_program
            overlay.mount(
                [empty, *layers], None, None, target, volatile=False, program=program,
                id_maps=id_maps,
            )  # fmt: skip
            return target
        if not given:
            trees.remove_tree(own)
            for path in (upper, work):
                os.makedirs(path)
            status = os.stat(layers[-1])
            os.chown(upper, *on_host(id_maps, status.st_uid, status.st_gid))
            os.chmod(upper, stat.S_IMODE(status.st_mode))
        program = host.storage.mount_program
        overlay.mount(layers, upper, work, target, volatile=False, program=program, id_maps=id_maps)
    except OSError as error:
        raise StorageError(
            f"overlay mount of {layers[-1]}: {error.filename or target}: {error.strerror}"
        ) from error
    return target


def _part(target: str, path: str, mount: Mount) -> str:
    """Bind a path below a volume's or image's root, which no symbolic link leads out of."""
    subpath = mount["subpath"]
    try:
        root_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            part_fd = syscalls.openat2(
                root_fd, subpath, os.O_PATH | os.O_CLOEXEC, resolve=syscalls.RESOLVE_CONFINED
            )
        finally:
            os.close(root_fd)
        try:
            if stat.S_ISDIR(os.fstat(part_fd).st_mode):
                os.makedirs(target, mode=0o700)
            else:
                os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            flags = syscalls.MS_BIND | syscalls.MS_REC
            syscalls.mount(f"/proc/self/fd/{part_fd}", target, None, flags, None)
        finally:
            os.close(part_fd)
    except OSError as error:
        whose = mount["name"] or mount["source"][:12]
        raise StorageError(f"subpath {subpath} of {whose}: {error.strerror}") from error
    return target


def _unmount_all(path: str) -> None:
    while True:
        try:
            syscalls.umount2(path, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno == errno.EINVAL:  # nothing is mounted there any more
                return
            raise StorageError(f"unmount {path}: {error.strerror}") from error


def _chown_tree(path: str, owner: tuple[int, int]) -> None:
    """Give everything below ``path`` to the container's user (``:U``); follows no link."""
    if os.path.realpath(path) in trees.OF_THE_HOST:
        raise ConfigError(f"chown of {path}: the host needs its owner: give another directory")
    try:
        os.chown(path, *owner)
        if not os.path.isdir(path):
            return
        for _, folders, names, directory_fd in os.fwalk(path):
            for name in (*folders, *names):
                os.chown(name, *owner, dir_fd=directory_fd, follow_symlinks=False)
    except OSError as error:
        raise StorageError(f"chown {path} to {owner[0]}:{owner[1]}: {error.strerror}") from error
