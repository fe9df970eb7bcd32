"""Mounts entries of type ``cgroup`` as the host's layout wants it: v1, hybrid or cgroup2."""

from __future__ import annotations

import errno
import posix

from pyrun import syscalls
from pyrun.errors import KernelError
from pyrun.linux import mounts, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.linux.cgroups.hierarchy import Hierarchy
    from pyrun.spec.types import JsonObject

_ALWAYS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def mount(
    mounter: mounts.Mounter,
    entry: JsonObject,
    index: int,
    hierarchies: list[Hierarchy],
    *,
    own_namespace: bool,
) -> None:
    """Mount one entry.

    Args:
        mounter: of the container's root.
        entry: of ``mounts``.
        index: its place.
        hierarchies: of the host, with the container's path in each when it has no cgroup
            namespace of its own.
        own_namespace: the kernel shows the container's cgroup as the root.

    Raises:
        ConfigError: an option has no meaning.
        KernelError: the kernel refused.
    """
    options = mounts.parse_options(entry.get("options") or [], f"/mounts/{index}/options")
    destination = entry["destination"]
    if "name=" in options.data:
        _one_by_name(mounter, destination, options)
        return
    if all(hierarchy.fstype == "cgroup2" for hierarchy in hierarchies):
        for hierarchy in hierarchies[:1]:
            # As with runc and crun, without a cgroup namespace it is the host's whole tree, in
            # which the path of /proc/self/cgroup leads to the container's. In v1 it is that alone.
            _one(mounter, destination, hierarchy, options.flags, options.data, anew=True)
        mounter.finish(destination, options)
        return
    tmpfs = {
        "type": "tmpfs",
        "source": "tmpfs",
        "destination": destination,
        "options": ["mode=755", *(entry.get("options") or ())],
    }
    mounter.mount(tmpfs, index)  # read-only in the end, if that was asked for
    for hierarchy in hierarchies:
        target = f"{destination}/{hierarchy.name}"
        flags, data = options.flags, hierarchy.data
        _one(mounter, target, hierarchy, flags, data, anew=own_namespace)
        for controller in hierarchy.controllers:
            if len(hierarchy.controllers) > 1 and controller != hierarchy.name:
                _link(mounter, destination, controller, hierarchy.name)


def _one_by_name(mounter: mounts.Mounter, destination: str, options: mounts.Options) -> None:
    """A v1 hierarchy without controllers, as the options say it."""
    try:
        target_fd = paths.make_inside(mounter.root_fd, destination, directory=True)
        try:
            target = paths.proc_path(target_fd)
            syscalls.mount("cgroup", target, "cgroup", options.flags | _ALWAYS, options.data)
        finally:
            posix.close(target_fd)
    except OSError as error:
        raise KernelError(f"mount cgroup ({options.data}) on {destination}", error) from error
    mounter.finish(destination, options)


def _one(
    mounter: mounts.Mounter,
    destination: str,
    hierarchy: Hierarchy,
    flags: int,
    data: str,
    *,
    anew: bool,
) -> None:
    """One hierarchy, from the root of the cgroup namespace or as a bind mount of our own cgroup."""
    step = f"mount {hierarchy.fstype} {hierarchy.name} on {destination}"
    flags |= _ALWAYS
    try:
        target_fd = paths.make_inside(mounter.root_fd, destination, directory=True)
        try:
            target = paths.proc_path(target_fd)
            if anew and _mount_anew(mounter, destination, target, hierarchy, flags, data):
                return
            _bind(hierarchy, target)
        finally:
            posix.close(target_fd)
        mounter.remount(destination, flags)
    except OSError as error:
        raise KernelError(step, error) from error


def _mount_anew(
    mounter: mounts.Mounter,
    destination: str,
    target: str,
    hierarchy: Hierarchy,
    flags: int,
    data: str,
) -> bool:
    """False where a user namespace may not mount it while the host's is covered in part."""
    try:
        syscalls.mount("cgroup", target, hierarchy.fstype, flags, data or None)
    except PermissionError:
        return False
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # /sys is the host's, with its cgroups: the same file system is not mounted on itself
        syscalls.mount("tmpfs", target, "tmpfs", _ALWAYS, "mode=755,size=0")
        tmpfs_fd = paths.open_inside(mounter.root_fd, destination)
        try:
            target = paths.proc_path(tmpfs_fd)
            syscalls.mount("cgroup", target, hierarchy.fstype, flags, data or None)
        finally:
            posix.close(tmpfs_fd)
    return True


def _bind(hierarchy: Hierarchy, target: str) -> None:
    source = hierarchy.mountpoint.rstrip("/") + "/" + _own_path(hierarchy).strip("/")
    syscalls.mount(source, target, None, syscalls.MS_BIND | syscalls.MS_REC, None)


def _own_path(hierarchy: Hierarchy) -> str:
    """Where this process, already in the container's cgroup, is in the hierarchy."""
    with open("/proc/self/cgroup") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if tuple(controllers.split(",")) == hierarchy.controllers:
                return path
    return "/"


def _link(mounter: mounts.Mounter, destination: str, name: str, target: str) -> None:
    directory_fd = paths.open_inside(mounter.root_fd, destination)
    try:
        posix.symlink(target, name, dir_fd=directory_fd)
    except FileExistsError:
        pass
    except OSError as error:
        raise KernelError(f"link {name} to {target} in {destination}", error) from error
    finally:
        posix.close(directory_fd)
