"""Prepares the root file system and pivots to it (runtime-spec config.md, "Root")."""

from __future__ import annotations

import _stat
import posix

from pyrun import names, syscalls
from pyrun.errors import ConfigError, KernelError
from pyrun.linux import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KERNELS = {"/proc": ("proc", syscalls.PROC_SUPER_MAGIC), "/sys": ("sysfs", syscalls.SYSFS_MAGIC)}
_PROPAGATION = {"": syscalls.MS_SLAVE | syscalls.MS_REC, **syscalls.PROPAGATION}


def prepare(rootfs: str, propagation: str, tree_fd: int = -1) -> int:
    """Make the root a mount of its own in this new mount namespace; returns its descriptor.

    Args:
        rootfs: its path on the host.
        propagation: ``linux.rootfsPropagation``.
        tree_fd: a detached mount of it, made before the user namespace, or -1.

    Raises:
        ConfigError: ``propagation`` has no meaning.
        KernelError: the kernel refused.
    """
    if propagation not in _PROPAGATION:
        problem = f"{propagation!r} is none of {', '.join(filter(None, _PROPAGATION))}"
        raise ConfigError("/linux/rootfsPropagation", problem)
    try:
        # Nothing that is mounted from here on may reach the host.
        outside = _PROPAGATION[propagation] & (syscalls.MS_PRIVATE | syscalls.MS_UNBINDABLE)
        kind = syscalls.MS_PRIVATE if outside else syscalls.MS_SLAVE
        syscalls.mount(None, "/", None, kind | syscalls.MS_REC, None)
        if tree_fd >= 0:
            # Its path may be closed to the root of a user namespace, so it goes over /: paths
            # that begin there do not see it.
            top_fd = posix.open("/", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            syscalls.move_mount(tree_fd, top_fd)
            posix.close(top_fd)
            root_fd = posix.dup(tree_fd)
        else:
            syscalls.mount(rootfs, rootfs, None, syscalls.MS_BIND | syscalls.MS_REC, None)
            root_fd = posix.open(rootfs, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        # pivot_root(2) refuses a shared mount, and the binds above may have made one.
        own = syscalls.MS_PRIVATE if outside else syscalls.MS_SLAVE
        syscalls.mount(None, paths.proc_path(root_fd), None, own | syscalls.MS_REC, None)
    except OSError as error:
        raise KernelError(f"prepare the root {rootfs}", error) from error
    return root_fd


def make_working_directory(root_fd: int, cwd: str) -> None:
    """Make ``process.cwd`` where the image does not have it, as runc and crun do.

    Where it cannot be made, entering it tells why.
    """
    try:
        posix.close(paths.make_inside(root_fd, cwd, directory=True))
    except OSError:
        return


def make_read_only(root_fd: int) -> None:
    """Remount the root read-only; mounts below it stay as they are.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        _read_only(root_fd)
    except OSError as error:
        raise KernelError("make the root read-only", error) from error


def _read_only(fd: int) -> None:
    """Remount what ``fd`` is the root of read-only, with the flags it has (locked ones too)."""
    word = posix.statvfs(paths.proc_path(fd)).f_flag
    had = word & (syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
                  | syscalls.MS_NOATIME | syscalls.MS_NODIRATIME)  # fmt: skip
    had |= syscalls.MS_RELATIME if word & 0x1000 else 0  # ST_RELATIME
    flags = had | syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
    syscalls.mount(None, paths.proc_path(fd), None, flags, None)


class Places:
    """Opens what is to be protected, where nobody can rename it.

    The image may be shared with another container, which exchanges /proc or /sys for a link while
    this one is made: then nothing would be found that could be masked, and the program would see
    the procfs again. So paths below these two begin at the mounts themselves.
    """

    __slots__ = ("_root_fd", "_tops")

    def __init__(self, root_fd: int, entries: list[dict[str, Any]]) -> None:
        """See the class.

        Args:
            root_fd: the container's root directory.
            entries: ``mounts``, which are all mounted.

        Raises:
            KernelError: what config.json has mounted on /proc or /sys is not there.
        """
        self._root_fd = root_fd
        self._tops: dict[str, int] = {}
        last = {names.normal(f"/{entry['destination']}"): entry for entry in entries}
        for top, (fstype, magic) in _KERNELS.items():
            entry = last.get(top) or {}
            if entry.get("type") != fstype and entry.get("source") != top:
                continue
            try:
                self._tops[top] = paths.open_inside(root_fd, top)
                if syscalls.fstatfs_type(self._tops[top]) == magic:
                    continue
            except OSError as error:
                raise KernelError(f"protect {top}", error) from error
            raise KernelError(f"protect {top}", f"another file has taken the place of its {fstype}")

    def open(self, path: str) -> int:
        """A path that is absolute in the container, as ``paths.open_inside`` opens it.

        Raises:
            OSError: as of openat2(2).
        """
        for top, fd in self._tops.items():
            if path.startswith(f"{top}/") and ".." not in path.split("/"):
                return paths.open_inside(fd, path[len(top) :])
        return paths.open_inside(self._root_fd, path)

    def close(self) -> None:
        """Once everything is protected."""
        for fd in self._tops.values():
            posix.close(fd)


def make_path_read_only(places: Places, path: str) -> None:
    """One of ``linux.readonlyPaths``: a bind mount of it on itself, read-only; may be missing.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        fd = places.open(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError(f"make {path} read-only", error) from error
    try:
        name = paths.proc_path(fd)
        syscalls.mount(name, name, None, syscalls.MS_BIND | syscalls.MS_REC, None)
        upper_fd = places.open(path)
        try:
            _read_only(upper_fd)
        finally:
            posix.close(upper_fd)
    except OSError as error:
        raise KernelError(f"make {path} read-only", error) from error
    finally:
        posix.close(fd)


def mask_path(places: Places, path: str, null_fd: int, label: str) -> None:
    """One of ``linux.maskedPaths``: nothing can be read there any more; may be missing.

    Args:
        places: opens it.
        path: absolute in the container.
        null_fd: the host's /dev/null, checked to be it.
        label: the option that sets ``linux.mountLabel``, or an empty string.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        fd = places.open(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise KernelError(f"mask {path}", error) from error
    try:
        if _stat.S_ISDIR(posix.fstat(fd).st_mode):
            data = label or None
            syscalls.mount("tmpfs", paths.proc_path(fd), "tmpfs", syscalls.MS_RDONLY, data)
        else:
            source = paths.proc_path(null_fd)
            syscalls.mount(source, paths.proc_path(fd), None, syscalls.MS_BIND, None)
    except OSError as error:
        raise KernelError(f"mask {path}", error) from error
    finally:
        posix.close(fd)


def open_null() -> int:
    """The host's /dev/null, checked: a masked file must not show something else.

    Raises:
        KernelError: it is another file.
    """
    try:
        fd = posix.open("/dev/null", posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open /dev/null of the host", error) from error
    info = posix.fstat(fd)
    if not _stat.S_ISCHR(info.st_mode) or info.st_rdev != posix.makedev(1, 3):
        posix.close(fd)
        raise KernelError("open /dev/null of the host", "it is not the null device")
    return fd


def pivot(root_fd: int) -> None:
    """Make ``root_fd`` the root and let go of the host's.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        old_fd = posix.open("/", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        posix.fchdir(root_fd)
        # Both in one place: the old root ends up over the new one and is detached from there.
        syscalls.pivot_root(".", ".")
        posix.fchdir(old_fd)
        posix.close(old_fd)
        syscalls.mount(None, ".", None, syscalls.MS_SLAVE | syscalls.MS_REC, None)
        syscalls.umount2(".", syscalls.MNT_DETACH)
        posix.chdir("/")
    except OSError as error:
        raise KernelError("change to the new root (pivot_root)", error) from error


def move(root_fd: int, rootfs: str) -> None:
    """Instead of ``pivot``, where the host's root is a ramfs: move the root to / and chroot.

    The host's other mounts stay below it, so procfs and sysfs, through which a process could
    reach the host, are taken away first.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        for target in _host_kernel_mounts(rootfs):
            try:
                syscalls.umount2(target, syscalls.MNT_DETACH)
            except OSError:
                # locked together by a user namespace: cover it instead
                syscalls.mount("tmpfs", target, "tmpfs", 0, None)
        posix.fchdir(root_fd)
        syscalls.mount(".", "/", None, syscalls.MS_MOVE, None)
        posix.chroot(".")
        posix.chdir("/")
    except OSError as error:
        raise KernelError("change to the new root (--no-pivot)", error) from error


def _host_kernel_mounts(rootfs: str) -> list[str]:
    """Where procfs and sysfs are mounted outside of ``rootfs``; the deepest first."""
    found = []
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            target = left.split(" ")[4].replace("\\040", " ")
            inside = target == rootfs or target.startswith(f"{rootfs}/")
            if right.split(" ")[0] in ("proc", "sysfs") and not inside:
                found.append(target)
    return found[::-1]


def chroot(root_fd: int) -> None:
    """For a container without a mount namespace of its own.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        posix.fchdir(root_fd)
        posix.chroot(".")
    except OSError as error:
        raise KernelError("change the root (chroot)", error) from error


def set_propagation(propagation: str) -> None:
    """Give the finished root its ``linux.rootfsPropagation``.

    Raises:
        KernelError: the kernel refused.
    """
    if not propagation:
        return
    try:
        syscalls.mount(None, "/", None, _PROPAGATION[propagation], None)
    except OSError as error:
        raise KernelError(f"make the root {propagation}", error) from error
