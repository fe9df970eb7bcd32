"""Layers stacked by the kernel's overlay file system."""

from __future__ import annotations

import errno
import os

from pyengine import syscalls
from pyengine.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    # Container id, host id and count, for users and for groups.
    IdMaps = tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]

# mount(2) takes one page of options, the final null byte included.
_OPTIONS_LIMIT_BYTES = 4095


def in_user_namespace() -> bool:
    """Whether our root is somebody else's ordinary user; trusted.* attributes are refused then."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def mount(
    layers: Sequence[str],
    upper: str | None,
    work: str | None,
    target: str,
    *,
    volatile: bool,
    program: str = "",
    id_maps: IdMaps | None = None,
    label: str = "",
) -> None:
    """Show ``layers`` (directories, bottom first) with ``upper`` on them at ``target``.

    Directories are named by descriptors, so that two hundred layers fit in the page of options
    and no character of a path can be taken for an option.

    Args:
        layers: at least one.
        upper: takes the changes; None for a view that cannot be changed, of two layers at least.
        work: overlay's own directory, empty, beside ``upper``.
        target: an empty directory.
        volatile: skip the sync at unmount; ``upper`` is lost then and must not be mounted again.
        program: mounts it instead of the kernel, as fuse-overlayfs does.
        id_maps: of users and groups, for the owners in ``layers``; those in ``upper`` are mapped.
        label: the SELinux context of all files.

    Raises:
        StorageError: too many layers, or the kernel refuses.
    """
    # An image may have a layer twice, such as an empty one, and the kernel takes a directory once.
    # Whatever the lower of the two decides, the upper decides in the same way.
    layers = list(dict.fromkeys(reversed(layers)))[::-1]
    if program:
        if id_maps is not None:
            raise StorageError(f"mount overlay on {target}: {program} cannot map owners")
        _mount_by(program, layers, upper, work, target)
        return
    stack = Stack(layers, upper, work, volatile=volatile, label=label)
    try:
        if id_maps is None:
            stack.mount(layers, target)
        else:
            from pyengine.storage import mapped_overlay

            mapped_overlay.mount(stack, id_maps, target)
    except OSError as error:
        raise StorageError(f"mount overlay on {target}: {error.strerror}") from error


class Stack:
    """What is stacked; the fields are as in ``mount``."""

    __slots__ = ("label", "layers", "upper", "volatile", "work")

    def __init__(
        self,
        layers: Sequence[str],
        upper: str | None,
        work: str | None,
        *,
        volatile: bool,
        label: str = "",
    ) -> None:
        self.layers, self.upper, self.work, self.volatile = layers, upper, work, volatile
        self.label = label

    def mount(self, layers: Sequence[str], target: str) -> None:
        """Mount it with these directories, bottom first, in the place of its layers.

        Raises:
            OSError: the kernel refuses.
            StorageError: too many layers.
        """
        fds: list[int] = []

        def named(path: str) -> str:
            fds.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            return f"/proc/self/fd/{fds[-1]}"

        try:
            options = f"lowerdir={':'.join(map(named, reversed(layers)))},index=off"
            if self.upper is not None and self.work is not None:
                options += f",upperdir={named(self.upper)},workdir={named(self.work)}"
            if in_user_namespace():
                options += ",userxattr"
            else:
                # An upper directory must stand by itself to become a layer: no entry of it may
                # point into another. Together with userxattr that is so anyhow (and before Linux
                # 6.5 an error to ask for).
                options += ",redirect_dir=off,metacopy=off"
            if self.volatile:
                options += ",volatile"
            if self.label:
                options += f',context="{self.label}"'  # quoted, because its level has a comma
            if len(options) > _OPTIONS_LIMIT_BYTES:
                raise StorageError(
                    f"mount overlay on {target}: {len(layers)} layers do not fit in mount(2)'s page"
                    " of options; use --storage-driver vfs or squash the image"
                )
            syscalls.mount("overlay", target, "overlay", syscalls.MS_NODEV, options)
        finally:
            for fd in fds:
                os.close(fd)


def _mount_by(
    program: str, layers: Sequence[str], upper: str | None, work: str | None, target: str
) -> None:
    """Start fuse-overlayfs, which stays until its mount goes."""
    import subprocess

    paths = [*layers, *filter(None, (upper, work))]
    if any(mark in path for path in paths for mark in ",:\\"):
        raise StorageError(f"mount overlay on {target}: {program} takes no path with , : or \\")
    options = f"lowerdir={':'.join(reversed(layers))}"
    if upper is not None and work is not None:
        options += f",upperdir={upper},workdir={work}"
    try:
        # Not pipes: the program that stays would hold them open.
        with open(os.devnull, "rb") as nothing:
            done = subprocess.run(
                [program, "-o", options, target], stdin=nothing, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True, check=False,
            )  # fmt: skip
    except OSError as error:
        raise StorageError(f"mount overlay on {target}: {program}: {error.strerror}") from error
    if done.returncode != 0 or not os.path.ismount(target):
        raise StorageError(
            f"mount overlay on {target}: {program} failed with status {done.returncode}: "
            "is /dev/fuse there and may this user open it?"
        )


def unmount(target: str) -> None:
    """Detach what is mounted at ``target``, busy or not; nothing mounted is fine.

    Raises:
        StorageError: the kernel refuses.
    """
    try:
        syscalls.umount2(target, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EINVAL:  # not a mount point
            raise StorageError(f"unmount {target}: {error.strerror}") from error


def works(directory: str, program: str = "", id_maps: IdMaps | None = None) -> bool:
    """Try a mount in ``directory``, which must be empty and is left empty."""
    paths = [f"{directory}/{name}" for name in ("lower", "upper", "work", "merged")]
    for path in paths:
        os.mkdir(path)
    lower, upper, work, merged = paths
    try:
        mount([lower], upper, work, merged, volatile=False, program=program, id_maps=id_maps)
    except StorageError:
        return False
    else:
        unmount(merged)
        return True
    finally:
        from pyengine.storage import trees

        for path in paths:
            trees.remove_tree(path)
