"""Overlays of layers whose owners are mapped, on every kernel that can (docs/adr/0023)."""

from __future__ import annotations

import errno
import os

from pyengine import syscalls
from pyengine.storage import idmapped, trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyengine.storage import overlay


def mount(stack: overlay.Stack, id_maps: overlay.IdMaps, target: str) -> None:
    """Mount ``stack`` with the owners in its layers mapped; ``overlay.mount`` says the rest.

    Raises:
        OSError: overlay does not take mapped layers, or something else is wrong.
        StorageError: their file system cannot map owners.
    """
    mark = f"{stack.work}/work/incompat"  # what a volatile mount leaves, even a refused one
    was_marked = os.path.exists(mark)
    namespace_fd = idmapped.namespace(*id_maps)
    clones: list[int] = []
    try:
        clones.extend(idmapped.clone(path, namespace_fd) for path in stack.layers)
        try:
            stack.mount([f"/proc/self/fd/{fd}" for fd in clones], target)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            if not was_marked:
                trees.remove_tree(mark)
            mount_attached(stack, clones, target)  # before Linux 6.15
    finally:
        for fd in (namespace_fd, *clones):
            os.close(fd)


def mount_attached(stack: overlay.Stack, clones: Sequence[int], target: str) -> None:
    """The same where overlay takes only mounts that have a place in the tree.

    They have it in a mount namespace that ends with this call, or with this process.
    """
    ours_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here_fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    merged_fd = -1
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        try:
            syscalls.mount("", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE, None)
            syscalls.mount("tmpfs", target, "tmpfs", 0, "mode=700")
            places = [f"{target}/{number}" for number in range(len(clones))]
            for place, clone in zip(places, clones, strict=True):
                os.mkdir(place)
                syscalls.move_mount(clone, place)
            os.mkdir(f"{target}/merged")
            stack.mount(places, f"{target}/merged")
            merged_fd = _detached(f"{target}/merged")
        finally:
            syscalls.setns(ours_fd, syscalls.CLONE_NEWNS)
            os.fchdir(here_fd)
        syscalls.move_mount(merged_fd, target)
    finally:
        for fd in (ours_fd, here_fd, merged_fd):
            if fd >= 0:
                os.close(fd)


def _detached(path: str) -> int:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.open_tree(fd)
    finally:
        os.close(fd)
