"""Layers as another user namespace sees them: mounts that map ids (mount_setattr(2))."""

from __future__ import annotations

import os

from pyengine import syscalls
from pyengine.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    Result = TypeVar("Result")

    # Container id, host id and count, as in user_namespaces(7).
    Map = Sequence[Sequence[int]]

NOBODY = 65534  # kernel.overflowuid and overflowgid
CAPABILITY = "security.capability"
VFS_CAP_REVISION_2, VFS_CAP_REVISION_3 = 2, 3  # the last byte of the first word, little-endian


def to_host(id_map: Map, inside: int) -> int:
    """The host's number of an id of the container.

    Raises:
        StorageError: the container has no such id.
    """
    for first, host, count in id_map:
        if first <= inside < first + count:
            return host + inside - first
    raise StorageError(f"id {inside} is not among the ids of the container: map more")


def on_host(id_maps: tuple[Map, Map] | None, uid: int, gid: int) -> tuple[int, int]:
    """A user and a group of the container as the host's.

    Raises:
        StorageError: the container has no such id.
    """
    if id_maps is None:
        return uid, gid
    return to_host(id_maps[0], uid), to_host(id_maps[1], gid)


def to_inside(id_map: Map, host: int) -> int:
    """The container's number of an id of the host; what is not its own is nobody's, as it sees."""
    for first, begin, count in id_map:
        if begin <= host < begin + count:
            return first + host - begin
    return NOBODY


def capability_inside(data: bytes, uid_map: Map) -> bytes:
    """A file's capabilities (capabilities(7), "File capability extended attribute versioning").

    As a container with this map sees them: those of its root are of version 2, which every system
    understands.
    """
    if len(data) != 24 or data[3] != VFS_CAP_REVISION_3:
        return data
    root = to_inside(uid_map, int.from_bytes(data[20:], "little"))
    if root == 0:
        return data[:3] + bytes([VFS_CAP_REVISION_2]) + data[4:20]
    return data[:20] + root.to_bytes(4, "little")


def capability_on_host(data: bytes, uid_map: Map) -> bytes:
    """The reverse: what counts in that container alone."""
    if len(data) != 20 or data[3] != VFS_CAP_REVISION_2:
        return data
    root = to_host(uid_map, 0).to_bytes(4, "little")
    return data[:3] + bytes([VFS_CAP_REVISION_3]) + data[4:20] + root


def namespace(uid_map: Map, gid_map: Map) -> int:
    """The descriptor of a user namespace with these maps, which nobody is in.

    Raises:
        StorageError: the kernel refuses.
    """

    def write_maps(process: str) -> int:
        for name, id_map in (("uid_map", uid_map), ("gid_map", gid_map)):
            text = "".join(f"{first} {host} {count}\n" for first, host, count in id_map)
            with open(f"{process}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        return os.open(f"{process}/ns/user", os.O_RDONLY | os.O_CLOEXEC)

    return _with_member(lambda: syscalls.unshare(syscalls.CLONE_NEWUSER), write_maps, "")


def maps_of(namespace_fd: int, name: str) -> tuple[list[list[int]], list[list[int]]]:
    """The maps of a user namespace, users and groups, as this process sees the host's ids.

    Raises:
        StorageError: it is none, or this process may not enter it; ``name`` is its path.
    """

    def read_maps(process: str) -> tuple[list[list[int]], list[list[int]]]:
        found = []
        for kind in ("uid_map", "gid_map"):
            with open(f"{process}/{kind}", encoding="ascii") as file:
                found.append([list(map(int, line.split())) for line in file])
        return found[0], found[1]

    def enter() -> None:
        syscalls.setns(namespace_fd, syscalls.CLONE_NEWUSER)

    return _with_member(enter, read_maps, name)


def _with_member(enter: Callable[[], None], work: Callable[[str], Result], name: str) -> Result:
    """Do something with the /proc/PID of a process that has called ``enter``, and then end it."""
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    done_read, done_write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(done_write)
            enter()
            os.write(ready_write, b"x")
            os.read(done_read, 1)
        finally:
            os._exit(0)
    os.close(ready_write)
    try:
        if not os.read(ready_read, 1):
            what = f"enter user namespace {name}" if name else "make a user namespace"
            raise StorageError(f"{what}: the kernel refuses (user.max_user_namespaces)")
        return work(f"/proc/{child}")
    except OSError as error:
        raise StorageError(f"map the ids of a user namespace: {error.strerror}") from error
    finally:
        for fd in (ready_read, done_read, done_write):
            os.close(fd)
        os.waitpid(child, 0)


def mount(path: str, target: str, uid_map: Map, gid_map: Map) -> None:
    """Mount a directory or file on ``target`` with its owners mapped.

    Raises:
        StorageError: the kernel or the file system cannot.
    """
    namespace_fd = namespace(uid_map, gid_map)
    tree_fd = -1
    try:
        tree_fd = clone(path, namespace_fd)
        syscalls.move_mount(tree_fd, target)
    except OSError as error:
        raise StorageError(f"mount {path} on {target}: {error.strerror}") from error
    finally:
        os.close(namespace_fd)
        if tree_fd >= 0:
            os.close(tree_fd)


def clone(path: str, namespace_fd: int) -> int:
    """A detached mount of a directory or file whose owners are mapped as in the namespace.

    Raises:
        StorageError: the kernel or the file system cannot.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    tree_fd = -1
    try:
        tree_fd = syscalls.open_tree(fd)
        syscalls.mount_setattr_idmap(tree_fd, namespace_fd)
    except OSError as error:
        if tree_fd >= 0:
            os.close(tree_fd)
        raise StorageError(
            f"map the owners of {path}: {error.strerror}: this needs a file system that can"
        ) from error
    finally:
        os.close(fd)
    return tree_fd
