"""``mounts add`` and ``mounts remove``: changes what a running container has mounted.

A mount is made beside the container, by a process in its other namespaces, and then attached
through descriptors. So nothing of the image is executed or followed out of the container's root,
and options mean what they mean in config.json.
"""

from __future__ import annotations

import _stat
import posix

from pyrun import names, syscalls
from pyrun.container import channel, init, mount_trees, status
from pyrun.errors import ConfigError, ContainerError, KernelError
from pyrun.linux import idmap, mount_idmap, mounts, namespaces, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.container.store import Entry
    from pyrun.spec.types import JsonObject

_CGROUPS = ("cgroup", "cgroup2")


class _Place:
    """The container's namespaces and its root, opened before anything changes."""

    __slots__ = ("mount_fd", "others", "pid", "root_fd")

    def __init__(self, entry: Entry, step: str) -> None:
        self.pid: int = entry.state["pid"]
        self.others = namespaces.Plan()
        try:
            for flag, name in namespaces.TYPES.values():
                own = namespaces.is_other(self.pid, name)
                # as root of the host, so that file systems of the host's can be mounted
                if own and flag not in (syscalls.CLONE_NEWUSER, syscalls.CLONE_NEWNS):
                    path = f"/proc/{self.pid}/ns/{name}"
                    self.others.joined[flag] = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
                elif flag == syscalls.CLONE_NEWNS and not own:
                    raise ContainerError(f"{step}: it has no mount namespace of its own")
            self.mount_fd = posix.open(f"/proc/{self.pid}/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
            flags = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
            self.root_fd = posix.open(f"/proc/{self.pid}/root", flags)
        except OSError as error:
            raise KernelError(
                f"{step}: open the namespaces of process {self.pid}", error
            ) from error
        if not status.is_alive(entry):  # the number may belong to another process by now
            raise ContainerError(f"{step}: it has stopped")


def _open(entry: Entry, step: str) -> _Place:
    now = status.of(entry, held=True)
    if now not in ("created", "running", "paused"):
        raise ContainerError(f"{step}: status is {now}, must be running or created")
    return _Place(entry, step)


def add(entry: Entry, wanted: list[JsonObject]) -> None:
    """Mount each entry of ``wanted``; the container's entry is locked.

    Raises:
        ContainerError: the container does not run, or has no mount namespace.
        ConfigError: a mount has no meaning for a container that runs already.
        KernelError: the kernel refused; mounts before that one stay.
    """
    config = entry.config()
    for index, one in enumerate(wanted):
        _check(one, index)
    place = _open(entry, f"add mounts to container {entry.id}")
    scratch = entry.path

    def work() -> None:
        trees = {index: _tree(entry, config, one, index) for index, one in enumerate(wanted)}
        made = _make_beside(
            scratch, trees, wanted, entry.state["bundle"], init.label_option(config)
        )
        syscalls.setns(place.mount_fd, syscalls.CLONE_NEWNS)
        for one, tree_fd in zip(wanted, made, strict=True):
            _attach(place.root_fd, one["destination"], tree_fd)

    _in_child(place, work)


def remove(entry: Entry, wanted: list[JsonObject]) -> None:
    """Unmount the destination of each entry; the container's entry is locked.

    Raises:
        ContainerError: the container does not run, or has no mount namespace.
        KernelError: nothing is mounted on one of them, or the kernel refused.
    """
    place = _open(entry, f"remove mounts from container {entry.id}")

    def work() -> None:
        syscalls.setns(place.mount_fd, syscalls.CLONE_NEWNS)
        posix.fchdir(place.root_fd)
        posix.chroot(".")  # from here on every link leads to somewhere in the container
        for one in wanted:
            destination = f"/{one['destination'].strip('/')}"
            try:
                syscalls.umount2(destination, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
            except OSError as error:
                raise KernelError(f"unmount {destination} in the container", error) from error

    _in_child(place, work)


def _check(one: JsonObject, index: int) -> None:
    options = set(one.get("options") or ())
    if one.get("type") in _CGROUPS:
        problem = "cgroups cannot be mounted in a container that runs already"
        raise ConfigError(f"/mounts/{index}/type", problem)
    for word in ("remount", *mounts.COPY_UP, mounts.COPY_SYMLINK):
        if word in options:
            problem = f"{word} has no meaning for a container that runs already"
            raise ConfigError(f"/mounts/{index}/options", problem)


def _in_child(place: _Place, work: Callable[[], None]) -> None:
    """Run ``work`` in a process that is in all namespaces of the container but two.

    It is a child's child, because a process cannot enter a pid namespace itself, and a procfs shows
    the one of whoever mounts it.
    """
    ours, theirs = channel.pair()
    pid = posix.fork()
    if pid == 0:
        try:
            posix.close(ours.fd)
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
            namespaces.join(place.others, ~0)
            child = posix.fork()
            if child == 0:
                work()
                theirs.send("done")
                posix._exit(0)
            posix.waitpid(child, 0)
        except BaseException as error:  # noqa: BLE001 - must never return into its parent's code
            theirs.send("error", **channel.describe(error))
        finally:
            posix._exit(1)
    theirs.close()
    try:
        ours.receive("done")
    finally:
        ours.close()
        posix.waitpid(pid, 0)


def _tree(entry: Entry, config: JsonObject, one: JsonObject, index: int) -> int:
    """What a bind mount is to show, detached, with its mapping; -1 for other mounts."""
    word = mount_trees.idmap_word(one)
    if not mounts.is_bind(one):
        if word:
            raise ConfigError(f"/mounts/{index}/options", f"{word}: is for bind mounts")
        return -1
    options = one.get("options") or []
    source = names.join(entry.state["bundle"], one.get("source") or "")
    follow = mounts.SOURCE_LINK not in options
    tree_fd = mounts.detached_tree(source, recursive="rbind" in options, follow=follow)
    if word:
        linux = config.get("linux") or {}
        mappings = mount_idmap.wanted(one, word, linux, f"/mounts/{index}")
        if mappings is None:
            path = f"/proc/{entry.state['pid']}/ns/user"
            namespace_fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        else:
            namespace_fd = idmap.make_namespace(*mappings)
        mount_idmap.apply(tree_fd, namespace_fd, source, recursive=word.startswith("ridmap"))
        posix.close(namespace_fd)
    return tree_fd


def _make_beside(
    scratch: str, trees: dict[int, int], wanted: list[JsonObject], bundle: str, label: str
) -> list[int]:
    """Each mount as it is to be, detached, in their order."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE, None)
        syscalls.mount("tmpfs", scratch, "tmpfs", 0, None)
        root_fd = posix.open(scratch, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise KernelError("make a mount namespace beside the container's", error) from error
    bound = {index: fd for index, fd in trees.items() if fd >= 0}
    made = []
    for index, one in enumerate(wanted):
        # each in a directory of its own: one may be below another
        posix.mkdir(str(index), dir_fd=root_fd)
        own_fd = paths.open_inside(root_fd, str(index))
        mounter = mounts.Mounter(own_fd, bundle, label, bound, _copy_nothing)
        mounter.mount(one, index)
        mounter.finish_late()
        last = posix.O_NOFOLLOW if mounts.SOURCE_LINK in (one.get("options") or ()) else 0
        target_fd = paths.open_inside(own_fd, one["destination"], posix.O_PATH | last)
        flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE | syscalls.AT_EMPTY_PATH
        try:
            made.append(syscalls.open_tree(target_fd, "", flags))
        except OSError as error:
            raise KernelError(f"open the mount for {one['destination']}", error) from error
    return made


def _copy_nothing(_source_fd: int, _target_fd: int) -> None:
    raise ContainerError("a mount is not filled in a container that runs already")


def _attach(root_fd: int, destination: str, tree_fd: int) -> None:
    step = f"mount on {destination} in the container"
    try:
        directory = _stat.S_ISDIR(posix.fstat(tree_fd).st_mode)
        target_fd = paths.make_inside(root_fd, destination, directory=directory)
        try:
            if mounts.is_same(posix.fstat(target_fd), posix.fstat(root_fd)):
                raise KernelError(step, "it is the root itself")
            if syscalls.fstatfs_type(target_fd) == syscalls.PROC_SUPER_MAGIC:
                raise KernelError(step, "it is inside of a procfs")
            syscalls.move_mount(tree_fd, target_fd)
        finally:
            posix.close(target_fd)
    except OSError as error:
        raise KernelError(step, error) from error
