"""What a container changed in its image's file system."""

from __future__ import annotations

import os
import stat

from pyengine.containers import file_trees, record
from pyengine.errors import ConflictError, StorageError
from pyengine.storage.idmapped import to_inside
from pyengine.storage.trees import OPAQUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.storage.overlay import IdMaps

    Change = tuple[str, str]  # A, C or D, and a path

ADDED, CHANGED, DELETED = "A", "C", "D"
TOUCHED = "T"  # a directory that itself is as it was; C where something in it has changed
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# What engine and runtime make there, as mount points of every container (podman leaves out the
# same). Files of these names that are not empty are the user's.
MADE_BY_US = frozenset((
    "/dev", "/proc", "/sys", "/run", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/mtab",
    "/run/.containerenv", "/run/notify", "/run/secrets",
))  # fmt: skip


def changes(host: Host, container: Container) -> list[Change]:
    """Changed paths, sorted by path.

    Raises:
        ConflictError: there is no image to compare with.
        StorageError: a directory cannot be read.
    """
    if container.config["rootfs"]:
        raise ConflictError(
            f"container {container.name} has a directory of the host as its root file system:"
            " there is no image to compare it with"
        )
    below = file_trees.layers(host, container)[::-1]
    upper = file_trees.upper(host, container)
    owners = Owners(record.id_maps(container))
    try:
        if upper is not None:
            found = _of_upper(upper, below, owners)
        elif container.started_at is None and not container.live:
            return []
        else:
            found = _of_copy(file_trees.shown(host, container), below, owners)
        return _without_ours(found, _left_out(container))
    except OSError as error:
        raise StorageError(f"diff {container.name}: {error.filename}: {error.strerror}") from error


def _without_ours(found: list[Change], left_out: frozenset[str]) -> list[Change]:
    """Sorted, without mount points, and without directories that changed for these alone."""
    kept = {path: kind for kind, path in found if path not in left_out}
    needed = set()
    for path, kind in kept.items():
        if kind != TOUCHED:
            above = path
            while (above := os.path.dirname(above)) != "/":
                needed.add(above)
    return [
        (CHANGED if kind == TOUCHED else kind, path)
        for path, kind in sorted(kept.items(), key=lambda one: os.fsencode(one[0]))
        if kind != TOUCHED or path in needed
    ]


def _left_out(container: Container) -> frozenset[str]:
    config = container.config
    targets = [*(volume["destination"] for volume in config["volumes"]), *config["tmpfs"]]
    return MADE_BY_US | {os.path.normpath(target) for target in targets}


def stubs(tree: str, below: Sequence[str]) -> frozenset[str]:
    """The mount points in a tree that no image has: empty files or directories, of our making."""
    found = set()
    root_fd = os.open(tree, _DIRECTORY)
    try:
        for path in MADE_BY_US:
            if lower_status(below, path[1:]) is None and _is_empty(root_fd, path[1:].split("/")):
                found.add(path[1:])
    finally:
        os.close(root_fd)
    return frozenset(found)


def _is_empty(root_fd: int, parts: list[str]) -> bool:
    fd = os.dup(root_fd)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        status = os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return status.st_size == 0
        if not stat.S_ISDIR(status.st_mode):
            return False
        inner = os.open(parts[-1], _DIRECTORY, dir_fd=fd)
        try:
            return not os.listdir(inner)
        finally:
            os.close(inner)
    except OSError:  # it is not there, or something else is
        return False
    finally:
        os.close(fd)


def _of_upper(upper: str, below: list[str], owners: Owners) -> list[Change]:
    """The entries of an upper directory in overlay's form; it may be changing meanwhile."""
    fd = os.open(upper, _DIRECTORY)
    try:
        return list(_walk_upper(fd, "", below, owners))
    finally:
        os.close(fd)


def _walk_upper(fd: int, path: str, below: list[str], owners: Owners) -> Iterator[Change]:
    for name in os.listdir(fd):
        inside = f"{path}/{name}"
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:  # removed meanwhile
            continue
        old = lower_status(below, inside[1:])
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            if old is not None:
                yield DELETED, inside
            continue
        yield _kind(old, status, owners), inside
        if not stat.S_ISDIR(status.st_mode):
            continue
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError:  # exchanged meanwhile
            continue
        try:
            hides = _is_opaque(inner)
            if hides and old is not None and stat.S_ISDIR(old.st_mode):
                present = set(os.listdir(inner))
                for gone in sorted(_lower_names(below, inside[1:]) - present):
                    yield DELETED, f"{inside}/{gone}"
            yield from _walk_upper(inner, inside, below, owners)
        finally:
            os.close(inner)


def _kind(old: os.stat_result | None, new: os.stat_result, owners: Owners) -> str:
    if old is None:
        return ADDED
    is_same_directory = stat.S_ISDIR(new.st_mode) and owners.same_nature(old, new)
    return TOUCHED if is_same_directory else CHANGED


def _of_copy(tree: str, below: list[str], owners: Owners) -> list[Change]:
    """A whole tree beside the layers it was copied from (the vfs driver)."""
    fd = os.open(tree, _DIRECTORY)
    try:
        found = dict(_walk_copy(fd, "", below, owners))
    finally:
        os.close(fd)
    for path in list(found):  # a directory has changed where something in it has
        above = path
        while (above := os.path.dirname(above)) != "/":
            found.setdefault(above, TOUCHED)
    return [(kind, path) for path, kind in found.items()]


def _walk_copy(fd: int, path: str, below: list[str], owners: Owners) -> Iterator[tuple[str, str]]:
    names = set(os.listdir(fd))
    for gone in _lower_names(below, path[1:]) - names:
        yield f"{path}/{gone}", DELETED
    for name in names:
        inside = f"{path}/{name}"
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        old = lower_status(below, inside[1:])
        if old is None:
            yield inside, ADDED
        elif not owners.same_nature(old, status):
            yield inside, CHANGED
        if not stat.S_ISDIR(status.st_mode):
            continue
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError:
            continue
        try:
            yield from _walk_copy(inner, inside, below, owners)
        finally:
            os.close(inner)


class Owners:
    """Compares an image's file with a container's, whose owners may be other ids on the host."""

    def __init__(self, id_maps: IdMaps | None) -> None:
        self._id_maps = id_maps

    def same_nature(self, old: os.stat_result, new: os.stat_result) -> bool:
        """Whether nothing has changed; of a directory not the time, which its entries change."""
        return self._owner(new) == (old.st_uid, old.st_gid) and _nature(old) == _nature(new)

    def _owner(self, status: os.stat_result) -> tuple[int, int]:
        if self._id_maps is None:
            return status.st_uid, status.st_gid
        uid_map, gid_map = self._id_maps
        return to_inside(uid_map, status.st_uid), to_inside(gid_map, status.st_gid)


def _nature(status: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode,)
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_rdev)


def lower_status(below: Sequence[str], path: str) -> os.stat_result | None:
    """What layers (directories that nobody changes, the top first) show at a path."""
    for layer in below:
        found, is_final = in_layer(layer, path.split("/"))
        if found is not None or is_final:
            return found
    return None


def in_layer(layer: str, parts: list[str]) -> tuple[os.stat_result | None, bool]:
    """What one layer has there, and whether it hides those below; follows no symbolic link."""
    place, hides, status = layer, False, None
    for number, part in enumerate(parts):
        place = f"{place}/{part}"
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return None, hides
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            return None, True
        if not stat.S_ISDIR(status.st_mode):
            return (status if number == len(parts) - 1 else None), True
        hides = hides or _is_opaque(place)
    return status, True


def _lower_names(below: Sequence[str], path: str) -> set[str]:
    """The names that layers show in a directory."""
    found: set[str] = set()
    hidden: set[str] = set()
    for layer in below:
        place, hides, is_there = layer, False, True
        for part in path.split("/") if path else []:
            place = f"{place}/{part}"
            if not os.path.isdir(place) or os.path.islink(place):
                is_there = False
                hides = hides or os.path.lexists(place)
                break
            hides = hides or _is_opaque(place)
        if is_there:
            with os.scandir(place) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                        hidden.add(entry.name)
                    elif entry.name not in hidden:
                        found.add(entry.name)
        if hides:
            break
    return found


def _is_opaque(directory: int | str) -> bool:
    names = os.listxattr(directory)
    return any(name in names and os.getxattr(directory, name) == b"y" for name in OPAQUE)
