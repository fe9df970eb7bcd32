"""What differs between the trees of two images, or between an image and what lies below it."""

from __future__ import annotations

import os
import stat

from pyengine.storage.trees import OPAQUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyengine.images.model import Image
    from pyengine.storage.store import Storage

    # A path and what counts as the same: mode, owner and, except for directories, size and time.
    Tree = dict[str, tuple[object, ...]]

ADDED, CHANGED, DELETED = "A", "C", "D"


def compare(storage: Storage, image: Image, other: Image | None) -> list[tuple[str, str]]:
    """Pairs of ``A``, ``C`` or ``D`` and a path, sorted by path.

    Args:
        storage: where their layers are.
        image: which.
        other: compared with; None for the same image without its top layer.
    """
    before = other.diff_ids if other is not None else image.diff_ids[:-1]
    old, new = (_tree(map(storage.layer_path, ids)) for ids in (before, image.diff_ids))
    changes = dict.fromkeys(new.keys() - old.keys(), ADDED)
    changes |= dict.fromkeys(old.keys() - new.keys(), DELETED)
    changes |= {path: CHANGED for path in old.keys() & new.keys() if old[path] != new[path]}
    for path in list(changes):
        changes |= {above: CHANGED for above in _above(path) if above not in changes}
    gone = {path for path, kind in changes.items() if kind == DELETED}
    return [
        (kind, path)
        for path, kind in sorted(changes.items())
        if kind != DELETED or os.path.dirname(path) not in gone
    ]


def _above(path: str) -> Iterator[str]:
    while (path := os.path.dirname(path)) != "/":
        yield path


def _tree(layers: Iterable[str]) -> Tree:
    """The paths that overlay would show of layers, bottom first."""
    tree: Tree = {}
    for layer in layers:
        _stack(layer, "", tree)
    return tree


def _stack(layer: str, below: str, tree: Tree) -> None:
    with os.scandir(f"{layer}{below}") as listed:
        entries = list(listed)
    for entry in entries:
        path = f"{below}/{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            _forget(path, tree, itself=True)
        elif stat.S_ISDIR(status.st_mode):
            old = tree.get(path)
            was_directory = old is not None and stat.S_ISDIR(int(str(old[0])))
            if _is_opaque(entry.path) or not was_directory:
                _forget(path, tree, itself=False)
            tree[path] = (status.st_mode, status.st_uid, status.st_gid)
            _stack(layer, path, tree)
        else:
            _forget(path, tree, itself=True)
            link = os.readlink(entry.path) if entry.is_symlink() else ""
            tree[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_size,
                          int(status.st_mtime), status.st_rdev, link)  # fmt: skip


def _forget(path: str, tree: Tree, *, itself: bool) -> None:
    for known in [one for one in tree if one.startswith(f"{path}/")]:
        del tree[known]
    if itself:
        tree.pop(path, None)


def _is_opaque(path: str) -> bool:
    names = os.listxattr(path, follow_symlinks=False)
    return any(name in names and os.getxattr(path, name) == b"y" for name in OPAQUE)
