"""Namespaces of a running container that another one joins as it starts."""

from __future__ import annotations

import os

from pyengine import syscalls
from pyengine.containers import record
from pyengine.containers.dependencies import PREFIX
from pyengine.containers.host import start_time
from pyengine.errors import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.specgen.generate import Place
    from pyengine.specgen.types import ContainerConfig

NAMES = {"network": "net"}  # in /proc/PID/ns, where they differ from config.json's
SHARED_FILES = ("/etc/hosts", "/etc/resolv.conf")


def prepare(host: Host, config: ContainerConfig, place: Place) -> None:
    """Fill in where the namespaces are, and what goes with them.

    Raises:
        ConflictError: a container that is needed does not run.
    """
    modes = {**config["namespaces"], "network": config["network"]}
    for kind, mode in modes.items():
        if not mode.startswith(PREFIX):
            continue
        other = record.find(host, mode[len(PREFIX) :])
        pid = other.pid
        if not other.running or pid is None or start_time(pid) != other.pid_start:
            raise ConflictError(
                f"share the {kind} namespace of container {other.name}: it does not run: container"
                " state improper"
            )
        place.namespace_paths[kind] = f"/proc/{pid}/ns/{NAMES.get(kind, kind)}"
        if kind == "ipc":
            _share_memory(pid, f"{place.bundle}/shm")
        if kind == "network":
            bundle = host.bundle(other.id)
            for path in SHARED_FILES:
                source = f"{bundle}/{os.path.basename(path)}"
                if os.path.exists(source):
                    place.files[path] = source


def _share_memory(pid: int, target: str) -> None:
    """Mount /dev/shm of a container's mount namespace on a directory of ours.

    The copy of a mount can be made only inside its namespace, and put anywhere from outside.
    """
    ours_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    theirs_fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here_fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree_fd = -1
    try:
        syscalls.setns(theirs_fd, syscalls.CLONE_NEWNS)
        try:
            tree_fd = _copy_mount("/dev/shm")
        finally:
            syscalls.setns(ours_fd, syscalls.CLONE_NEWNS)
            os.fchdir(here_fd)
        os.makedirs(target, mode=0o700, exist_ok=True)
        syscalls.move_mount(tree_fd, target)
    except OSError as error:
        raise ConflictError(f"share /dev/shm of process {pid}: {error.strerror}") from error
    finally:
        for fd in (ours_fd, theirs_fd, here_fd, tree_fd):
            if fd >= 0:
                os.close(fd)


def _copy_mount(path: str) -> int:
    """A detached copy of the mount at ``path``, which may be a link of the container's."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    root_fd = os.open("/", flags)
    try:
        place_fd = syscalls.openat2(root_fd, path[1:], flags, resolve=syscalls.RESOLVE_CONFINED)
    finally:
        os.close(root_fd)
    try:
        return syscalls.open_tree(place_fd)
    finally:
        os.close(place_fd)


def leave(bundle: str) -> None:
    """Unmount what ``prepare`` mounted."""
    path = f"{bundle}/shm"
    if os.path.isdir(path):
        try:
            syscalls.umount2(path, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno != 22:  # EINVAL: nothing is mounted there any more
                raise
