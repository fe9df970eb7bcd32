"""Detached mounts that the parent makes for init: of what init may not reach or make."""

from __future__ import annotations

import errno
import posix

from pyrun import names, syscalls
from pyrun.errors import ConfigError, KernelError
from pyrun.linux import idmap, mount_idmap, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.init import Task
    from pyrun.spec.types import JsonObject


def make(task: Task) -> dict[int, int]:
    """Descriptors by index in ``mounts``; -1 is the root.

    The root of a user namespace may not reach the sources by their paths, and an idmapped mount
    needs the privileges of the user namespace that its file system belongs to.

    Raises:
        ConfigError: a mapping has no meaning.
        KernelError: the kernel refused.
    """
    outside = task.plan.has(syscalls.CLONE_NEWUSER) and posix.geteuid() == 0
    trees: dict[int, int] = {}
    try:
        if outside:
            try:
                trees[-1] = mounts.detached_tree(task.rootfs, recursive=True)
            except KernelError as error:
                if error.errno != errno.EPERM:
                    raise
                outside = False  # of a user namespace that has no mounts: init's are its first
        for index, entry in enumerate(task.config.get("mounts") or ()):
            word = idmap_word(entry)
            if word and not mounts.is_bind(entry):
                raise ConfigError(f"/mounts/{index}/options", f"{word}: is for bind mounts")
            if word or (outside and mounts.is_bind(entry)):
                _one(task, entry, index, word, trees)
            elif outside and _wants_sysfs(task, entry):
                _sysfs(task, index, trees)
    except BaseException:
        for fd in trees.values():
            posix.close(fd)
        raise
    return trees


def idmap_word(entry: JsonObject) -> str:
    """The option that asks for an idmapped mount; mappings alone ask for one, too."""
    for option in reversed(entry.get("options") or []):
        if mounts.is_idmap(option):
            return str(option)
    return "idmap" if entry.get("uidMappings") or entry.get("gidMappings") else ""


def _one(task: Task, entry: JsonObject, index: int, word: str, trees: dict[int, int]) -> None:
    source = names.join(task.bundle, entry.get("source") or "")
    options = entry.get("options") or []
    if mounts.COPY_SYMLINK in options and mounts.is_link(source):
        flags = posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC
        trees[index] = posix.open(source, flags)
        return
    trees[index] = tree_fd = mounts.detached_tree(
        source, recursive="rbind" in options, follow=mounts.SOURCE_LINK not in options
    )
    if not word:
        return
    mappings = mount_idmap.wanted(entry, word, task.config.get("linux") or {}, f"/mounts/{index}")
    namespace_fd = _user_namespace(task, mappings)
    try:
        mount_idmap.apply(tree_fd, namespace_fd, source, recursive=word.startswith("ridmap"))
    finally:
        posix.close(namespace_fd)


def _wants_sysfs(task: Task, entry: JsonObject) -> bool:
    """Whether init may not mount it: its network namespace is not of its user namespace."""
    remount = "remount" in (entry.get("options") or ())
    return entry.get("type") == "sysfs" and not (remount or task.plan.new & syscalls.CLONE_NEWNET)


def _sysfs(task: Task, index: int, trees: dict[int, int]) -> None:
    """A sysfs of the network namespace that the container will be in, without what is below /sys.

    Where this process may not make one either, init takes the host's (``mounts.Mounter``).
    """
    own_fd, network_fd = -1, task.plan.joined.get(syscalls.CLONE_NEWNET)
    try:
        if network_fd is not None:
            own_fd = posix.open("/proc/self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
            syscalls.setns(network_fd, syscalls.CLONE_NEWNET)
        fs_fd = syscalls.fsopen("sysfs")
        try:
            syscalls.fsconfig_create(fs_fd, "sysfs")
            trees[index] = syscalls.fsmount(fs_fd)
        finally:
            posix.close(fs_fd)
    except PermissionError:
        return
    except OSError as error:
        raise KernelError("make a sysfs for the user namespace", error) from error
    finally:
        if own_fd >= 0:
            syscalls.setns(own_fd, syscalls.CLONE_NEWNET)
            posix.close(own_fd)


def _user_namespace(task: Task, mappings: tuple[list[JsonObject], list[JsonObject]] | None) -> int:
    """The container's own is not there yet, so one that maps alike stands in for it."""
    joined = task.plan.joined.get(syscalls.CLONE_NEWUSER)
    if mappings is None and joined is not None:
        return posix.dup(joined)
    if mappings is None:
        linux = task.config.get("linux") or {}
        mappings = linux.get("uidMappings") or [], linux.get("gidMappings") or []
    return idmap.make_namespace(*mappings)
