"""Whole directory trees: removing one, and copying one onto another in overlay's terms."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyengine.storage.overlay import IdMaps

    # By inode the copy, for what has other links.
    Copied = dict[tuple[int, int], str]

FICLONE = 0x40049409
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")

# With another owner or label the host could not use these any more.
OF_THE_HOST = frozenset({
    "/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib",
    "/lib64", "/media", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr",
    "/var", "/var/lib", "/var/log",
})  # fmt: skip

# Deeper directories are first moved up, so that neither recursion nor descriptors run out.
_MAX_DEPTH = 64


def remove_tree(path: str) -> None:
    """Remove ``path`` and what is below it; follows no symbolic link; a missing path is fine.

    Another process may be removing the same, or ending and writing its last file there.

    Raises:
        OSError: something could not be removed.
    """
    try:
        top_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(path)
        return
    try:
        while not (_empty(top_fd, top_fd, 0) and _remove_directory(path)):
            pass
    finally:
        os.close(top_fd)


def _empty(directory_fd: int, top_fd: int, depth: int) -> bool:
    """Remove the entries; false when deep ones were moved to the top instead."""
    complete = True
    with os.scandir(directory_fd) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in listed:
        if not is_directory:
            try:
                os.unlink(name, dir_fd=directory_fd)
            except FileNotFoundError:  # a program that is just ending has renamed its file
                complete = False
        elif depth == _MAX_DEPTH:
            os.rename(name, f"moved-{os.urandom(8).hex()}", src_dir_fd=directory_fd,
                      dst_dir_fd=top_fd)  # fmt: skip
            complete = False
        else:
            try:
                fd = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                    dir_fd=directory_fd,
                )  # fmt: skip
            except FileNotFoundError:
                continue
            try:
                complete = _empty(fd, top_fd, depth + 1) and complete
            finally:
                os.close(fd)
            complete = _remove_directory(name, directory_fd) and complete
    return complete


def _remove_directory(name: str, directory_fd: int | None = None) -> bool:
    """Remove an empty directory, or what was one; false where something has come into it."""
    try:
        os.rmdir(name, dir_fd=directory_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def stack_layers(layers: Iterable[str], target: str, id_maps: IdMaps | None = None) -> None:
    """Copy layer directories, bottom first, onto ``target``, as overlay would show them.

    Owners, modes, times, extended attributes and hard links are kept; data is shared with the
    layer where the file system can (FICLONE). Nobody else may be using ``target``.

    Args:
        layers: the directories.
        target: is made if need be.
        id_maps: of a container with a user namespace of its own, which the owners are mapped by.

    Raises:
        OSError: something cannot be read or written.
        StorageError: an owner has no id in the maps.
    """
    for layer in layers:
        _copy_directory(layer, target, {}, id_maps)


def _copy_directory(source: str, target: str, copied: Copied, id_maps: IdMaps | None) -> None:
    status = os.lstat(source)
    attributes = _attributes(source)
    if any(attributes.get(name) == b"y" for name in OPAQUE) and os.path.isdir(target):
        remove_tree(target)
    if not os.path.isdir(target) or os.path.islink(target):
        remove_tree(target)
        os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            _copy_entry(entry, f"{target}/{entry.name}", copied, id_maps)
    _copy_metadata(target, status, attributes, id_maps)


def _copy_entry(
    entry: os.DirEntry[str], target: str, copied: Copied, id_maps: IdMaps | None
) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        _copy_directory(entry.path, target, copied, id_maps)
        return
    remove_tree(target)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return  # overlay's whiteout: the lower entry is gone
    inode = (status.st_dev, status.st_ino)
    if inode in copied:
        os.link(copied[inode], target, follow_symlinks=False)
        return
    if stat.S_ISREG(status.st_mode):
        _copy_data(entry.path, target)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(entry.path), target)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    if status.st_nlink > 1:
        copied[inode] = target
    _copy_metadata(target, status, _attributes(entry.path), id_maps)


def _copy_data(source: str, target: str) -> None:
    source_fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.ioctl(target_fd, FICLONE, source_fd)
            except OSError:  # another file system, or one that cannot share data
                while os.sendfile(target_fd, source_fd, None, 1 << 30):
                    pass
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


def _attributes(path: str) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _copy_metadata(
    target: str, status: os.stat_result, attributes: dict[str, bytes], id_maps: IdMaps | None
) -> None:
    owner = (status.st_uid, status.st_gid)
    if id_maps is not None:
        from pyengine.storage import idmapped

        owner = idmapped.on_host(id_maps, *owner)
        if idmapped.CAPABILITY in attributes:
            data = attributes[idmapped.CAPABILITY]
            attributes[idmapped.CAPABILITY] = idmapped.capability_on_host(data, id_maps[0])
    os.lchown(target, *owner)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name, value in attributes.items():
        if name not in OPAQUE:
            os.setxattr(target, name, value, follow_symlinks=False)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
