"""Mounts inside the root, options as flags (runtime-spec config.md, "Mounts")."""

from __future__ import annotations

import _stat
import errno
import posix

from pyrun import names, syscalls
from pyrun.errors import ConfigError, KernelError
from pyrun.linux import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    JsonObject = dict[str, Any]

# name: (bits to set, bits to clear)
_FLAGS: dict[str, tuple[int, int]] = {
    "async": (0, syscalls.MS_SYNCHRONOUS),
    "atime": (0, syscalls.MS_NOATIME),
    "bind": (syscalls.MS_BIND, 0),
    "defaults": (0, 0),
    "dev": (0, syscalls.MS_NODEV),
    "diratime": (0, syscalls.MS_NODIRATIME),
    "dirsync": (syscalls.MS_DIRSYNC, 0),
    "exec": (0, syscalls.MS_NOEXEC),
    "iversion": (syscalls.MS_I_VERSION, 0),
    "lazytime": (syscalls.MS_LAZYTIME, 0),
    "loud": (0, syscalls.MS_SILENT),
    "mand": (syscalls.MS_MANDLOCK, 0),
    "noatime": (syscalls.MS_NOATIME, syscalls.MS_STRICTATIME | syscalls.MS_RELATIME),
    "nodev": (syscalls.MS_NODEV, 0),
    "nodiratime": (syscalls.MS_NODIRATIME, 0),
    "noexec": (syscalls.MS_NOEXEC, 0),
    "noiversion": (0, syscalls.MS_I_VERSION),
    "nolazytime": (0, syscalls.MS_LAZYTIME),
    "nomand": (0, syscalls.MS_MANDLOCK),
    "norelatime": (0, syscalls.MS_RELATIME),
    "nostrictatime": (0, syscalls.MS_STRICTATIME),
    "nosuid": (syscalls.MS_NOSUID, 0),
    "nosymfollow": (syscalls.MS_NOSYMFOLLOW, 0),
    "rbind": (syscalls.MS_BIND | syscalls.MS_REC, 0),
    "relatime": (syscalls.MS_RELATIME, syscalls.MS_STRICTATIME | syscalls.MS_NOATIME),
    "remount": (syscalls.MS_REMOUNT, 0),
    "ro": (syscalls.MS_RDONLY, 0),
    "rw": (0, syscalls.MS_RDONLY),
    "silent": (syscalls.MS_SILENT, 0),
    "strictatime": (syscalls.MS_STRICTATIME, syscalls.MS_NOATIME | syscalls.MS_RELATIME),
    "suid": (0, syscalls.MS_NOSUID),
    "symfollow": (0, syscalls.MS_NOSYMFOLLOW),
    "sync": (syscalls.MS_SYNCHRONOUS, 0),
    # crun's words; these belong to the file system, so they are never only of one mount
    "rasync": (0, syscalls.MS_SYNCHRONOUS),
    "rdirsync": (syscalls.MS_DIRSYNC, 0),
    "rmand": (syscalls.MS_MANDLOCK, 0),
    "rnomand": (0, syscalls.MS_MANDLOCK),
    "rsync": (syscalls.MS_SYNCHRONOUS, 0),
}
# Options for the whole tree below a mount, as attributes of mount_setattr(2): (set, clear).
_ATIME = syscalls.MOUNT_ATTR__ATIME
_TREE: dict[str, tuple[int, int]] = {
    "rro": (syscalls.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, syscalls.MOUNT_ATTR_RDONLY),
    "rnosuid": (syscalls.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, syscalls.MOUNT_ATTR_NOSUID),
    "rnodev": (syscalls.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, syscalls.MOUNT_ATTR_NODEV),
    "rnoexec": (syscalls.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, syscalls.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (syscalls.MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, syscalls.MOUNT_ATTR_NODIRATIME),
    "rrelatime": (syscalls.MOUNT_ATTR_RELATIME, _ATIME),
    "rnorelatime": (syscalls.MOUNT_ATTR_STRICTATIME, _ATIME),
    "rnoatime": (syscalls.MOUNT_ATTR_NOATIME, _ATIME),
    "ratime": (syscalls.MOUNT_ATTR_RELATIME, _ATIME),
    "rstrictatime": (syscalls.MOUNT_ATTR_STRICTATIME, _ATIME),
    "rnostrictatime": (syscalls.MOUNT_ATTR_RELATIME, _ATIME),
    "rnosymfollow": (syscalls.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, syscalls.MOUNT_ATTR_NOSYMFOLLOW),
}
COPY_UP = frozenset({"tmpcopyup", "copyup"})
# crun's words for bind mounts whose source or destination is a symbolic link
COPY_SYMLINK, SOURCE_LINK, DESTINATION_LINK = "copy-symlink", "src-nofollow", "dest-nofollow"
# What a bind mount takes over from where it comes from unless it is asked to differ.
_INHERITED = (
    syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    | syscalls.MS_NOATIME | syscalls.MS_NODIRATIME | syscalls.MS_RELATIME
)  # fmt: skip

# Files of procfs that may be mounted over: lxcfs does, and it changes what is told, not done.
_PROC_FILES = frozenset({
    "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev",
    "/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
    "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
})  # fmt: skip


class Options:
    """What the ``options`` of one mount say.

    Attributes:
        flags: MS_ bits.
        cleared: bits that an option took away, to tell "rw" from nothing said.
        propagation: calls to make afterwards, MS_ bits each.
        tree_set: MOUNT_ATTR_ bits for the whole tree.
        tree_clear: MOUNT_ATTR_ bits to take from the whole tree.
        data: what the file system itself reads, joined by commas.
        copy_up: a tmpfs starts with what the directory below it holds.
        idmap: the words of an idmapped mount, which the parent prepares.
        links: the words for links, ``COPY_SYMLINK`` and the others.
        last: O_NOFOLLOW where the end of the destination is taken as it is.
    """

    __slots__ = (
        "cleared", "copy_up", "data", "flags", "idmap", "last", "links", "propagation",
        "tree_clear", "tree_set",
    )  # fmt: skip

    def __init__(self) -> None:
        self.flags = 0
        self.cleared = 0
        self.propagation: list[int] = []
        self.tree_set = 0
        self.tree_clear = 0
        self.data = ""
        self.copy_up = False
        self.idmap = ""
        self.links: set[str] = set()
        self.last = 0


def parse_options(options: list[str], pointer: str) -> Options:
    """Sort options into what the kernel wants; the last one wins.

    Raises:
        ConfigError: an option is known and cannot be honoured.
    """
    parsed = Options()
    data = []
    for option in options:
        if option in _FLAGS:
            on, off = _FLAGS[option]
            parsed.flags = parsed.flags & ~off | on
            parsed.cleared = parsed.cleared & ~on | off
        elif option in syscalls.PROPAGATION:
            parsed.propagation.append(syscalls.PROPAGATION[option])
        elif option in _TREE:
            on, off = _TREE[option]
            parsed.tree_set = parsed.tree_set & ~off | on
            parsed.tree_clear = parsed.tree_clear & ~on | off
        elif option in COPY_UP:
            parsed.copy_up = True
        elif is_idmap(option):
            parsed.idmap = option
        elif option in (COPY_SYMLINK, SOURCE_LINK, DESTINATION_LINK):
            parsed.links.add(option)
        else:
            data.append(option)
    parsed.data = ",".join(data)
    if parsed.links and not parsed.flags & syscalls.MS_BIND:
        problem = f"{', '.join(sorted(parsed.links))}: is for bind mounts"
        raise ConfigError(pointer, problem)
    if parsed.links & {SOURCE_LINK, DESTINATION_LINK}:
        parsed.last = posix.O_NOFOLLOW
    return parsed


def known_options() -> list[str]:
    """Every word that is not left to the file system (``features``)."""
    links = {COPY_SYMLINK, SOURCE_LINK, DESTINATION_LINK}
    words = {*_FLAGS, *syscalls.PROPAGATION, *_TREE, *COPY_UP, *links}
    return sorted({*words, "idmap", "ridmap"})


def is_idmap(option: str) -> bool:
    """``idmap`` or ``ridmap``, or one of them with crun's mappings behind it."""
    return option.partition("=")[0] in ("idmap", "ridmap")


class Mounter:
    """Mounts entry after entry below one root.

    Attributes:
        root_fd: the container's root directory.
        late: (path, flags) of the mounts that become read-only once everything is in place.
    """

    __slots__ = ("_bundle", "_copy_tree", "_label", "_trees", "late", "root_fd")

    def __init__(
        self,
        root_fd: int,
        bundle: str,
        label: str,
        trees: dict[int, int],
        copy_tree: Callable[[int, int], None],
    ) -> None:
        """See the class.

        Args:
            root_fd: the container's root directory.
            bundle: relative sources start there.
            label: the option that sets ``linux.mountLabel``, or an empty string.
            trees: detached mounts made before the user namespace, by index in ``mounts``.
            copy_tree: copies a directory, for ``tmpcopyup``.
        """
        self.root_fd = root_fd
        self._bundle = bundle
        self._label = label
        self._trees = trees
        self._copy_tree = copy_tree
        self.late: list[tuple[str, int]] = []

    def mount(self, entry: JsonObject, index: int) -> None:
        """Mount one entry of ``mounts``.

        Args:
            entry: already validated; of any type but cgroup.
            index: its place in ``mounts``.

        Raises:
            ConfigError: an option or the destination has no meaning.
            KernelError: the kernel refused.
        """
        fstype = entry.get("type") or ""
        words = entry.get("options") or []
        if fstype == "bind":
            words = ["bind", *words]
        options = parse_options(words, f"/mounts/{index}/options")
        destination = entry["destination"]
        if not destination.startswith("/"):
            destination = f"/{destination}"  # runc takes it so; the specification did until 1.0
        if options.flags & syscalls.MS_BIND:
            self._bind(entry, index, destination, options)
        else:
            source = entry.get("source") or fstype
            self._mount_new(fstype, source, destination, options, self._trees.get(index, -1))

    def _mount_new(
        self, fstype: str, source: str, destination: str, options: Options, tree_fd: int
    ) -> None:
        step = f"mount {fstype} on {destination}"
        data = options.data
        if self._label and fstype not in ("proc", "sysfs", "mqueue", "cgroup", "cgroup2"):
            data = ",".join(filter(None, [data, self._label]))
        flags = options.flags
        late = flags & syscalls.MS_RDONLY and (fstype == "tmpfs" or destination == "/dev")
        if late:
            flags &= ~syscalls.MS_RDONLY
        remount = flags & syscalls.MS_REMOUNT
        try:
            if fstype == "tmpfs" and not remount:
                data = self._with_mode(data, destination)
            target_fd = self._target(destination, directory=True)
            try:
                self._check_target(target_fd, fstype, destination, "")
                name = None if remount else fstype
                if tree_fd >= 0:
                    self._attach(tree_fd, target_fd, destination, options)
                else:
                    try:
                        target = paths.proc_path(target_fd)
                        syscalls.mount(source, target, name, flags, data or None)
                    except PermissionError as error:
                        if fstype != "sysfs" or remount:
                            raise
                        tree_fd = _sysfs_of_host(error)
                        self._attach(tree_fd, target_fd, destination, options)
                        posix.close(tree_fd)
                self._follow(destination)
                if fstype == "mqueue" and self._label:
                    self._label_root(destination)
                if options.copy_up:
                    self._copy_up(target_fd, destination, data, keep_mode=fstype == "tmpfs")
            finally:
                posix.close(target_fd)
            self.finish(destination, options)
        except OSError as error:
            raise KernelError(step, _explained(error, fstype)) from error
        if late:
            self.late.append((destination, flags | syscalls.MS_RDONLY))

    def _attach(self, tree_fd: int, target_fd: int, destination: str, options: Options) -> None:
        """Mount a detached sysfs with the flags that a new one would have."""
        if options.data:
            raise OSError(errno.EINVAL, f"{posix.strerror(errno.EINVAL)}: option {options.data}")
        syscalls.move_mount(tree_fd, target_fd)
        self._remount_bind(destination, options, posix.fstat(tree_fd))

    def _may_cover(self, fstype: str) -> bool:
        """Whether something may be mounted on the root.

        A root that is a detached tree is mounted over the host's: under another mount it would
        stay there after pivot_root(2), and it, not the host's root, would be detached.
        """
        return -1 not in self._trees and fstype not in ("proc", "sysfs")

    def _follow(self, destination: str) -> None:
        """What is mounted on the root is the root from then on, under the same descriptor."""
        if names.normal(destination) == "/":
            top_fd = paths.open_inside(self.root_fd, "..")  # from "." the mount is not seen
            posix.dup2(top_fd, self.root_fd, inheritable=False)
            posix.close(top_fd)

    def _label_root(self, destination: str) -> None:
        """What has no option for a label takes it as an attribute."""
        fd = paths.open_inside(self.root_fd, destination)
        try:
            label = self._label.partition('="')[2].rstrip('"')
            posix.setxattr(paths.proc_path(fd), "security.selinux", label.encode())
        finally:
            posix.close(fd)

    def _with_mode(self, data: str, destination: str) -> str:
        """A tmpfs keeps the mode of the directory it covers, as with runc; the last one counts.

        Where there is none yet, it has its own default, which lets everybody write.
        """
        try:
            fd = paths.open_inside(self.root_fd, destination)
        except FileNotFoundError:
            return data
        mode = f"mode={_stat.S_IMODE(posix.fstat(fd).st_mode):o}"
        posix.close(fd)
        return f"{mode},{data}" if data else mode

    def _copy_up(self, lower_fd: int, destination: str, data: str, *, keep_mode: bool) -> None:
        """What the options say of the file system's root counts more than what is copied."""
        upper_fd = paths.open_inside(self.root_fd, destination, posix.O_RDONLY | posix.O_DIRECTORY)
        try:
            below = posix.open(
                paths.proc_path(lower_fd), posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
            )
            try:
                given = {word.partition("=")[0] for word in data.split(",")}
                info = posix.fstat(upper_fd)
                self._copy_tree(below, upper_fd)
                if given & {"uid", "gid"}:
                    posix.fchown(upper_fd, info.st_uid if "uid" in given else -1,
                                 info.st_gid if "gid" in given else -1)  # fmt: skip
                if keep_mode or "mode" in given:
                    posix.fchmod(upper_fd, _stat.S_IMODE(info.st_mode))
            finally:
                posix.close(below)
        finally:
            posix.close(upper_fd)

    def _bind(self, entry: JsonObject, index: int, destination: str, options: Options) -> None:
        source = entry.get("source") or ""
        step = f"mount {source} on {destination}"
        tree_fd = self._trees.get(index, -1)
        path = names.join(self._bundle, source)
        if COPY_SYMLINK in options.links:
            text = _link_text("", tree_fd) if tree_fd >= 0 else _link_text(path)
            if text:
                self._copy_symlink(text, destination, step)
                return
        try:
            if tree_fd < 0 and SOURCE_LINK in options.links:
                recursive = bool(options.flags & syscalls.MS_REC)
                tree_fd = detached_tree(path, recursive=recursive, follow=False)
            info = posix.fstat(tree_fd) if tree_fd >= 0 else posix.stat(path)
        except OSError as error:
            raise KernelError(step, error) from error
        try:
            target_fd = self._target(
                destination,
                directory=_stat.S_ISDIR(info.st_mode),
                follow=DESTINATION_LINK not in options.links,
            )
            try:
                self._check_target(target_fd, "bind", destination, path)
                if tree_fd >= 0:
                    syscalls.move_mount(tree_fd, target_fd)
                    if not any(word & syscalls.MS_SHARED for word in options.propagation):
                        # it is a peer of the host's still, which would get what comes upon it
                        own = syscalls.MS_SLAVE | syscalls.MS_REC
                        syscalls.mount(None, paths.proc_path(tree_fd), None, own, None)
                else:
                    how = options.flags & (syscalls.MS_BIND | syscalls.MS_REC)
                    syscalls.mount(path, paths.proc_path(target_fd), None, how, None)
                self._follow(destination)
            finally:
                posix.close(target_fd)
            self._remount_bind(destination, options, info)
            self.finish(destination, options, info)
        except OSError as error:
            raise KernelError(step, error) from error

    def _copy_symlink(self, text: str, destination: str, step: str) -> None:
        """Make the link that the source is, instead of a mount of what it points at."""
        parent, _, name = destination.rstrip("/").rpartition("/")
        try:
            parent_fd = paths.make_inside(self.root_fd, parent or "/", directory=True)
            try:
                posix.symlink(text, name, dir_fd=parent_fd)
            except FileExistsError:
                if _link_text(name, parent_fd) != text:
                    problem = f"{destination} is there and is no link to {text} ({COPY_SYMLINK})"
                    raise ConfigError("/mounts", problem) from None
            finally:
                posix.close(parent_fd)
        except OSError as error:
            raise KernelError(step, error) from error

    def _made(self, destination: str, options: Options, info: posix.stat_result | None) -> int:
        """Open what has just been mounted, and nothing that has taken its name since.

        Its place may be in a volume that another container changes, and flags such as ``ro`` must
        not go to another mount.
        """
        fd = paths.open_inside(self.root_fd, destination, posix.O_PATH | options.last)
        if info is not None and not is_same(posix.fstat(fd), info):
            posix.close(fd)
            raise OSError(errno.ESTALE, "another file has taken its place meanwhile")
        return fd

    def _remount_bind(self, destination: str, options: Options, info: posix.stat_result) -> None:
        """A bind mount takes its flags in a second call; what is not named stays as it was."""
        plain = syscalls.MS_BIND | syscalls.MS_REC
        wanted = options.flags & ~plain
        if not wanted and not options.cleared:
            return
        fd = self._made(destination, options, info)
        try:
            kept = posix.statvfs(paths.proc_path(fd)).f_flag
            had = _from_statvfs(kept) & ~options.cleared
            flags = wanted | had | syscalls.MS_BIND | syscalls.MS_REMOUNT
            try:
                syscalls.mount(None, paths.proc_path(fd), None, flags, None)
            except PermissionError:
                # Flags of a mount from outside our user namespace are locked: keep them all.
                # One that was explicitly switched off stays an error.
                if options.cleared & _from_statvfs(kept):
                    raise
                locked = flags | _from_statvfs(kept)
                syscalls.mount(None, paths.proc_path(fd), None, locked, None)
        finally:
            posix.close(fd)

    def finish(
        self, destination: str, options: Options, info: posix.stat_result | None = None
    ) -> None:
        """Propagation and the attributes of the whole tree, on the mount just made.

        Args:
            destination: of it.
            options: of it.
            info: of its root, where that is known.
        """
        if not (options.propagation or options.tree_set or options.tree_clear):
            return
        fd = self._made(destination, options, info)
        try:
            for flags in options.propagation:
                syscalls.mount(None, paths.proc_path(fd), None, flags, None)
            if options.tree_set or options.tree_clear:
                word = syscalls.AT_RECURSIVE
                syscalls.mount_setattr(fd, word, options.tree_set, options.tree_clear)
        finally:
            posix.close(fd)

    def _target(self, destination: str, *, directory: bool, follow: bool = True) -> int:
        if not follow:
            try:
                last = posix.O_PATH | posix.O_NOFOLLOW
                return paths.open_inside(self.root_fd, destination, last)
            except FileNotFoundError:
                pass  # there is no link then
        return paths.make_inside(self.root_fd, destination, directory=directory)

    def _check_target(self, target_fd: int, fstype: str, destination: str, source: str) -> None:
        """Keep procfs and sysfs real: security settings are read from and written to them."""
        real = posix.readlink(paths.proc_path(target_fd))
        root = posix.readlink(paths.proc_path(self.root_fd)).rstrip("/")
        inside = real[len(root) :] or "/"
        if inside == "/" and (names.normal(destination) != "/" or not self._may_cover(fstype)):
            raise ConfigError("/mounts", f"destination {destination} is the root itself")
        if fstype in ("proc", "sysfs") and inside != names.normal(destination):
            problem = f"{fstype} on {destination}: a link in the image leads to {inside}"
            raise ConfigError("/mounts", problem)
        if fstype == "proc" or not (inside == "/proc" or inside.startswith("/proc/")):
            return
        if inside == "/proc":
            if source and _is_procfs(source):  # a rootless container with the host's processes
                return
        elif inside in _PROC_FILES or not _is_procfs(paths.proc_path(target_fd)):
            return
        raise ConfigError("/mounts", f"destination {destination} is inside of /proc")

    def finish_late(self) -> None:
        """Make read-only what had to be writable until now.

        Raises:
            KernelError: the kernel refused.
        """
        for destination, flags in self.late:
            try:
                self.remount(destination, flags)
            except OSError as error:
                raise KernelError(f"make {destination} read-only", error) from error

    def remount(self, destination: str, flags: int) -> None:
        """Give the mount at ``destination``, and not its file system, other flags (OSError)."""
        fd = paths.open_inside(self.root_fd, destination)
        try:
            word = flags | syscalls.MS_REMOUNT | syscalls.MS_BIND
            syscalls.mount(None, paths.proc_path(fd), None, word, None)
        finally:
            posix.close(fd)


def _is_procfs(path: str) -> bool:
    fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    try:
        return syscalls.fstatfs_type(fd) == syscalls.PROC_SUPER_MAGIC
    finally:
        posix.close(fd)


def is_same(one: posix.stat_result, other: posix.stat_result) -> bool:
    """Whether both are of one file."""
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _from_statvfs(word: int) -> int:
    """The flags of statvfs(3) as those of mount(2)."""
    flags = word & (0x1 | 0x2 | 0x4 | 0x8 | 0x400 | 0x800)
    if word & 0x1000:  # ST_RELATIME
        flags |= syscalls.MS_RELATIME
    return flags & _INHERITED


def is_link(path: str) -> bool:
    """Whether it is a symbolic link."""
    try:
        return _stat.S_ISLNK(posix.lstat(path).st_mode)
    except OSError:
        return False  # whoever opens it says why


def _link_text(name: str, directory_fd: int | None = None) -> str:
    """What a link says, an empty name being ``directory_fd`` itself; empty for other files."""
    try:
        return posix.readlink(name, dir_fd=directory_fd)
    except OSError:  # another kind of file, or whoever opens it says why
        return ""


def detached_tree(source: str, *, recursive: bool, follow: bool = True) -> int:
    """A copy of a mount that a new user namespace may attach; made while its path is reachable.

    Raises:
        KernelError: the kernel refused.
    """
    flags = syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if recursive else 0)
    flags |= 0 if follow else syscalls.AT_SYMLINK_NOFOLLOW
    try:
        return syscalls.open_tree(-100, source, flags)
    except OSError as error:
        raise KernelError(f"open the mount {source}", error) from error


def _sysfs_of_host(refusal: OSError) -> int:
    """A detached copy of the host's /sys, for a network namespace that shows no new one.

    What is mounted below it comes along, since the mounts of a user namespace are locked together.
    None of that is writable: the cgroups of the host may be among it. And nothing that the host
    mounts there later comes after it.

    Raises:
        OSError: ``refusal``, where /sys is no sysfs; or the kernel refused.
        KernelError: as of ``detached_tree``.
    """
    tree_fd = detached_tree("/sys", recursive=True)
    try:
        if syscalls.fstatfs_type(tree_fd) != syscalls.SYSFS_MAGIC:
            raise refusal
        read_only = posix.fstatvfs(tree_fd).f_flag & posix.ST_RDONLY
        word = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
        word |= syscalls.MOUNT_ATTR_RDONLY
        syscalls.mount_setattr(tree_fd, syscalls.AT_RECURSIVE, word, 0, syscalls.MS_PRIVATE)
        if not read_only:  # itself it is what its options say
            syscalls.mount_setattr(tree_fd, 0, 0, syscalls.MOUNT_ATTR_RDONLY)
    except BaseException:
        posix.close(tree_fd)
        raise
    return tree_fd


def _explained(error: OSError, fstype: str) -> OSError:
    """With what it would take, where a user namespace may not mount a new one."""
    kind = {"proc": "pid", "mqueue": "ipc", "sysfs": "network"}.get(fstype)
    if error.errno != errno.EPERM or not kind:
        return error
    problem = f"a user namespace needs a new {kind} namespace for it (or a bind mount instead)"
    return OSError(error.errno, f"{posix.strerror(error.errno)}: {problem}")


def is_bind(entry: JsonObject) -> bool:
    """Whether an entry of ``mounts`` is a bind mount."""
    options = entry.get("options") or []
    return entry.get("type") == "bind" or "bind" in options or "rbind" in options
