"""Device nodes and the links of /dev (runtime-spec config-linux.md, "Devices")."""

from __future__ import annotations

import _stat
import posix

from pyrun import names, syscalls
from pyrun.errors import ConfigError, KernelError
from pyrun.linux import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Owner = Callable[[int, str], int]
    JsonObject = dict[str, Any]

DEFAULT: tuple[JsonObject, ...] = (
    {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
    {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5},
    {"path": "/dev/full", "type": "c", "major": 1, "minor": 7},
    {"path": "/dev/random", "type": "c", "major": 1, "minor": 8},
    {"path": "/dev/urandom", "type": "c", "major": 1, "minor": 9},
    {"path": "/dev/tty", "type": "c", "major": 5, "minor": 0},
)
_PTMX = "/dev/ptmx"
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_KINDS = {"c": _stat.S_IFCHR, "u": _stat.S_IFCHR, "b": _stat.S_IFBLK, "p": _stat.S_IFIFO}


def make_all(root_fd: int, asked: list[JsonObject], nodes: dict[int, int], *, bind: bool) -> None:
    """Make the devices that every container has, and those asked for, which win.

    Args:
        root_fd: the container's root directory.
        asked: ``linux.devices``.
        nodes: detached mounts of some of them, by index in ``asked``.
        bind: mounts the host's nodes, where a user namespace forbids mknod(2).

    Raises:
        ConfigError: a type is unknown.
        KernelError: the kernel refused.
    """
    named = {device["path"]: index for index, device in enumerate(asked)}
    umask = posix.umask(0)
    try:
        for device in DEFAULT:
            if device["path"] not in named:
                make(root_fd, device, "", bind=bind)
        for index, device in enumerate(asked):
            if device["path"] == _PTMX and _has_own_ptmx(root_fd):
                continue  # make_links will put a link there, and could not replace a mount
            node_fd = nodes.get(index, -1)
            make(root_fd, device, f"/linux/devices/{index}", bind=bind, node_fd=node_fd)
    finally:
        posix.umask(umask)


def make(root_fd: int, device: JsonObject, pointer: str, *, bind: bool, node_fd: int = -1) -> None:
    """Make one device; one that is there already and is the same stays.

    With ``node_fd``, a detached mount of it, that is mounted.

    Raises:
        ConfigError: the type is unknown, or something else has the path.
        KernelError: the kernel refused.
    """
    path = names.normal(device["path"])
    try:
        kind = _KINDS[device["type"]]
    except KeyError:
        raise ConfigError(f"{pointer}/type", f"{device['type']!r} is none of c, u, b, p") from None
    number = _number(device)
    parent, _, name = path.rpartition("/")
    try:
        parent_fd = paths.make_inside(root_fd, parent or "/", directory=True)
    except OSError as error:
        raise KernelError(f"make the device {path}", error) from error
    try:
        if node_fd >= 0:
            _mount_node(node_fd, name, parent_fd, detached=True)
            return
        if bind and kind != _stat.S_IFIFO:
            _bind(path, name, parent_fd, (kind, number), pointer)
            return
        try:
            posix.mknod(name, _mode(device), number, dir_fd=parent_fd)
        except FileExistsError:
            found = posix.stat(name, dir_fd=parent_fd, follow_symlinks=False)
            if _stat.S_IFMT(found.st_mode) != kind or found.st_rdev != number:
                problem = f"{path} exists in the root and is another file"
                raise ConfigError(f"{pointer}/path", problem) from None
            return  # with its owner: it may be the host's, in a directory that is mounted here
        except PermissionError:
            # not allowed to make nodes (a nested container): the host's own will do
            _bind(path, name, parent_fd, (kind, number), pointer)
            return
        owner = device.get("uid") or 0, device.get("gid") or 0
        posix.chown(name, *owner, dir_fd=parent_fd, follow_symlinks=False)
    except OSError as error:
        raise KernelError(f"make the device {path}", error) from error
    finally:
        posix.close(parent_fd)


def _bind(path: str, name: str, parent_fd: int, wanted: tuple[int, int], pointer: str) -> None:
    """Mount the host's node; the place is a file in the container's /dev.

    Args:
        path: of the node, the same on the host and in the container.
        name: of the place.
        parent_fd: the place's directory.
        wanted: the node's type and number.
        pointer: its place in config.json.
    """
    source_fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    try:
        found = posix.fstat(source_fd)
        if (_stat.S_IFMT(found.st_mode), found.st_rdev) != wanted:
            numbers = f"{posix.major(wanted[1])}:{posix.minor(wanted[1])}"
            problem = f"{path} of the host, which is to be mounted, is not the device {numbers}"
            raise ConfigError(f"{pointer}/path", problem)
        _mount_node(source_fd, name, parent_fd)
    finally:
        posix.close(source_fd)


def _number(device: JsonObject) -> int:
    return posix.makedev(device.get("major") or 0, device.get("minor") or 0)


def _mode(device: JsonObject) -> int:
    """Its type and permissions in one word."""
    mode = device.get("fileMode")
    return _KINDS[device["type"]] | _stat.S_IMODE(0o666 if mode is None else mode)


def make_nodes(asked: list[JsonObject], prefix: str, owner: Owner) -> dict[int, int]:
    """Detached mounts of devices for a user namespace, which may make none itself; by index.

    As crun has it: the host may have no such node, and the container's user must own its own.

    Args:
        asked: ``linux.devices``.
        prefix: of their paths on the host, where they stay until they are mounted.
        owner: an id of the container, and "uid" or "gid", to that of the host.

    Raises:
        KernelError: the kernel refused.
    """
    nodes: dict[int, int] = {}
    umask = posix.umask(0)
    try:
        for index, device in enumerate(asked):
            if device["type"] == "p":  # init may make that
                continue
            path = f"{prefix}{index}"
            try:
                posix.mknod(path, _mode(device), _number(device))
                ids = [owner(device.get(kind) or 0, kind) for kind in ("uid", "gid")]
                posix.chown(path, *ids, follow_symlinks=False)
                nodes[index] = fd = syscalls.open_tree(-100, path, syscalls.OPEN_TREE_CLONE)
                syscalls.mount_setattr(fd, 0, 0, syscalls.MOUNT_ATTR_NODEV)
            except PermissionError:
                return nodes  # a nested container: init takes the nodes that it finds
            except OSError as error:
                raise KernelError(f"make the device {device['path']}", error) from error
    except BaseException:
        for fd in nodes.values():
            posix.close(fd)
        raise
    finally:
        posix.umask(umask)
    return nodes


def _mount_node(source_fd: int, name: str, parent_fd: int, *, detached: bool = False) -> None:
    try:
        flags = posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_WRONLY
        posix.close(posix.open(name, flags, 0o666, dir_fd=parent_fd))
    except FileExistsError:
        pass  # mounted over as well, a link too: the mount is on the link itself
    target_fd = posix.open(
        name, posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=parent_fd
    )
    try:
        if detached:
            syscalls.move_mount(source_fd, target_fd)
            # no peer of the host's any more, which would get what is mounted upon it
            syscalls.mount(None, paths.proc_path(source_fd), None, syscalls.MS_SLAVE, None)
            return
        source = paths.proc_path(source_fd)
        syscalls.mount(source, paths.proc_path(target_fd), None, syscalls.MS_BIND, None)
    finally:
        posix.close(target_fd)


def make_links(root_fd: int) -> None:
    """Make /dev/fd, stdin, stdout, stderr, core and ptmx (config-linux.md, "Dev symbolic links").

    Raises:
        KernelError: the kernel refused.
    """
    try:
        dev_fd = paths.make_inside(root_fd, "/dev", directory=True)
        try:
            links = [*_LINKS]
            if names.exists("/proc/kcore"):
                links.append(("core", "/proc/kcore"))
            for name, target in links:
                _link(target, name, dev_fd)
            _ptmx(root_fd, dev_fd)
        finally:
            posix.close(dev_fd)
    except OSError as error:
        raise KernelError("make the links in /dev", error) from error


def _link(target: str, name: str, dev_fd: int) -> None:
    try:
        posix.symlink(target, name, dir_fd=dev_fd)
    except FileExistsError:
        pass  # the image's own; what it points at is the container's matter


def _has_own_ptmx(root_fd: int) -> bool:
    try:
        posix.close(paths.open_inside(root_fd, "/dev/pts/ptmx"))
    except OSError:
        return False
    return True


def _ptmx(root_fd: int, dev_fd: int) -> None:
    """Replace /dev/ptmx by a link to that of the container's own devpts, if it has one."""
    if not _has_own_ptmx(root_fd):
        return
    try:
        posix.unlink("ptmx", dir_fd=dev_fd)
    except FileNotFoundError:
        pass
    posix.symlink("pts/ptmx", "ptmx", dir_fd=dev_fd)
