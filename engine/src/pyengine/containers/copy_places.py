"""Where ``cp`` copies from and to: a path on the host, or one in a container, running or not.

A path in a container is resolved below the container's root directory, in its own mounts: through
``/proc/PID/root`` while it runs, and else through a root file system that is mounted for this
process alone, with the container's volumes on it. No symbolic link leads out of it.
"""

from __future__ import annotations

import errno
import os
import stat

from pyengine import syscalls
from pyengine.containers import record
from pyengine.containers.host import start_time
from pyengine.errors import ConflictError, NotFoundError, StorageError
from pyengine.specgen import users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_LINKS = 40  # as the kernel
_MISSING = (errno.ENOENT, errno.ENOTDIR)


class Place:
    """A directory and the name of an entry in it, which may be missing.

    Attributes:
        text: the path as given.
        where: the container's name, or empty for the host.
        parent_fd: ours to keep open.
        name: ``.`` for the directory itself.
        status: of the entry, never a symbolic link's; None where it is missing.
    """

    __slots__ = ("name", "parent_fd", "status", "text", "where")

    def __init__(
        self, text: str, where: str, parent_fd: int, name: str, status: os.stat_result | None
    ) -> None:
        self.text, self.where, self.parent_fd, self.name = text, where, parent_fd, name
        self.status = status

    @property
    def is_directory(self) -> bool:
        """Whether it is there, and a directory."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def missing(self) -> NotFoundError:
        """The error that says so."""
        return not_found(self.text, self.where)

    def open_directory(self) -> int:
        """The directory that it is."""
        return os.open(self.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.parent_fd)


def not_found(text: str, where: str) -> NotFoundError:
    """In podman's words."""
    place = f"container {where}" if where else "the host"
    return NotFoundError(f'"{text}" could not be found on {place}: no such file or directory')


class HostRoot:
    """The host's own files, as this process sees them."""

    where = ""
    resolve = 0
    id_maps = None

    def __init__(self) -> None:
        self.fd = os.open("/", _DIRECTORY)
        self._cwd = os.getcwd()

    def path(self, text: str) -> str:
        """From the root."""
        return text if text.startswith("/") else f"{self._cwd}/{text}"

    @property
    def owner(self) -> tuple[int, int]:
        """Who gets what is copied here: the caller, as with podman."""
        return os.geteuid(), os.getegid()


class ContainerRoot:
    """A container's files."""

    resolve = syscalls.RESOLVE_CONFINED

    def __init__(self, host: Host, name: str) -> None:
        """Find the container.

        Raises:
            NotFoundError: there is none.
        """
        self.where, self._host = name, host
        try:
            self._container = record.find(host, name)
        except NotFoundError as error:
            raise NotFoundError(f'container "{name}" does not exist: {error}') from error
        self._config = self._container.config
        self.id, self.fd = self._container.id, -1
        self.id_maps = record.id_maps(self._container)

    def open(self) -> None:
        """Open its root directory.

        Raises:
            ConflictError: it was started or removed just now.
            StorageError: its root file system cannot be mounted.
        """
        self.fd = _open_running(self._container)
        if self.fd < 0:
            self.fd = _open_stopped(self._host, self._container)

    def path(self, text: str) -> str:
        """From the root; a relative one begins at the container's working directory."""
        return text if text.startswith("/") else f"{self._config['cwd'] or '/'}/{text}"

    @property
    def owner(self) -> tuple[int, int]:
        """Who gets what is copied here: the container's user."""
        user = users.look_up(self.fd, self._config["user"])
        return user.uid, user.gid


def _open_running(container: Container) -> int:
    """The root that the container's process has, or -1 where it does not run."""
    if not container.running or not container.pid:
        return -1
    try:
        fd = os.open(f"/proc/{container.pid}/root", _DIRECTORY)
    except OSError:
        return -1
    if start_time(container.pid) != container.pid_start:  # the number is somebody else's by now
        os.close(fd)
        return -1
    return fd


def _open_stopped(host: Host, container: Container) -> int:
    """Mount the root file system and the volumes for this process alone.

    The kernel takes the mounts away with the process. Until then the container's lock keeps others
    from starting it, because two overlays must not share an upper directory.
    """
    # Held until the process ends.
    if host.database.locks.acquire(host.lock_name(container.id), wait=True) is None:
        raise ConflictError(f"container {container.name}: its lock cannot be taken")
    current = record.by_id(host, container.id)
    if current is None or record.observe(host, current).running:
        raise ConflictError(f"container {container.name} was started or removed: copy again")
    root = container.config["rootfs"]
    if not root and container.started_at is None:
        layers = host.storage.container_layers(container.id)
        host.storage.create_container(container.id, layers, record.id_maps(container))
        host.storage.keep(container.id)
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE, None)
        if "rootfs_idmap" in container.config["mounts"]:
            from pyengine.containers.configuring import rootfs

            rootfs.mount(container.config, root)
        root = root or host.storage.mount(container.id, label=record.mount_label(container))
        fd = os.open(root, _DIRECTORY)
        _mount_volumes(host, container, root, fd)
        return os.open(root, _DIRECTORY)
    except OSError as error:
        raise StorageError(f"mount container {container.name}: {error.strerror}") from error


def _mount_volumes(host: Host, container: Container, root: str, root_fd: int) -> None:
    """Bind what the container would have there; a directory that is missing in it is left out."""
    if not container.config["volumes"]:
        return
    from pyengine.containers import mount_sources

    sources = mount_sources.take_private(host, container, root)
    volumes = container.config["volumes"]
    for volume in sorted(volumes, key=lambda one: os.path.normpath(one["destination"]).count("/")):
        destination = volume["destination"]
        source = sources.get(destination)
        if source is None:
            continue
        owner = record.on_host(container, 0, 0)
        fd = _make_target(root_fd, destination, owner, directory=os.path.isdir(source))
        try:
            if "idmap" in volume["options"] and container.config["id_maps"]:
                _mount_mapped(container, source, fd)
                continue
            flags = syscalls.MS_BIND | syscalls.MS_REC
            syscalls.mount(source, f"/proc/self/fd/{fd}", None, flags, None)
        finally:
            os.close(fd)


def _mount_mapped(container: Container, source: str, target_fd: int) -> None:
    from pyengine.storage import idmapped

    idmapped.mount(source, f"/proc/self/fd/{target_fd}", *container.config["id_maps"])


def _make_target(root_fd: int, path: str, owner: tuple[int, int], *, directory: bool) -> int:
    """The mount point, made where it is missing, as the runtime would."""
    parts = [part for part in os.path.normpath(path).split("/") if part]
    for depth in range(1, len(parts) + 1):
        is_last = depth == len(parts)
        below = "/".join(parts[:depth])
        try:
            fd = syscalls.openat2(
                root_fd, below, os.O_PATH | os.O_CLOEXEC, resolve=syscalls.RESOLVE_CONFINED
            )
        except FileNotFoundError:
            above = syscalls.openat2(
                root_fd, "/".join(parts[: depth - 1]) or ".", _DIRECTORY,
                resolve=syscalls.RESOLVE_CONFINED,
            )  # fmt: skip
            try:
                if is_last and not directory:
                    os.close(os.open(parts[-1], os.O_CREAT | os.O_EXCL, 0o644, dir_fd=above))
                else:
                    os.mkdir(parts[depth - 1], 0o755, dir_fd=above)
                os.chown(parts[depth - 1], *owner, dir_fd=above, follow_symlinks=False)
            finally:
                os.close(above)
            fd = syscalls.openat2(
                root_fd, below, os.O_PATH | os.O_CLOEXEC, resolve=syscalls.RESOLVE_CONFINED
            )
        if is_last:
            return fd
        os.close(fd)
    raise StorageError(f"mount on {path}: it is the root directory")


def locate(root: HostRoot | ContainerRoot, text: str) -> Place:
    """Resolve a path to its last entry, following symbolic links below the root.

    Raises:
        NotFoundError: a directory on the way is missing.
        StorageError: it cannot be reached for another reason.
    """
    path = root.path(text)
    try:
        for _ in range(_MAX_LINKS):
            above, _, name = path.rpartition("/")
            if name in ("", ".", ".."):
                fd = _open(root, path or "/")
                return Place(text, root.where, fd, ".", os.fstat(fd))
            parent_fd = _open(root, above or "/")
            try:
                status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
            except FileNotFoundError:
                return Place(text, root.where, parent_fd, name, None)
            if not stat.S_ISLNK(status.st_mode):
                return Place(text, root.where, parent_fd, name, status)
            target = os.readlink(name, dir_fd=parent_fd)
            os.close(parent_fd)
            path = target if target.startswith("/") else f"{above}/{target}"
    except OSError as error:
        if error.errno in _MISSING:
            raise not_found(text, root.where) from error
        place = f"container {root.where}" if root.where else "the host"
        raise StorageError(f'"{text}" on {place}: {error.strerror}') from error
    raise StorageError(f'"{text}": too many levels of symbolic links')


def _open(root: HostRoot | ContainerRoot, path: str) -> int:
    return syscalls.openat2(root.fd, path.lstrip("/") or ".", _DIRECTORY, resolve=root.resolve)
