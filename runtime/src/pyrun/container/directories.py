"""The directories below --root: making one for a new container, finding it again, listing them."""

from __future__ import annotations

import posix

from pyrun import names
from pyrun.container import store
from pyrun.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry


def reserve(root: str, container_id: str) -> Entry:
    """Make and lock the directory of a new container.

    The entry has a state when a killed command left one: the caller cleans up what it names.

    Raises:
        ContainerError: the id is invalid or in use, or the directory cannot be made.
    """
    store.check_id(container_id)
    path = f"{root}/{container_id}"
    in_use = f"create container {container_id}: a container with this id exists already"
    for _ in range(100):  # another command may be removing it right now
        made = _make(root, path, f"create container {container_id}: make {path}")
        entry = store.Entry(container_id, path)
        try:
            entry.lock_fd = store.take_lock(path, wait=False)
            if entry.lock_fd < 0:
                continue
            if entry.read_any() and entry.state["stage"] != "creating":
                raise ContainerError(in_use)
        except BlockingIOError:
            if store.is_locked(entry):
                raise ContainerError(in_use) from None
            continue  # somebody who only asks whether it is locked has a lock for a moment
        except (ContainerError, OSError):
            if made:
                _unmake(path)
            entry.unlock()
            raise
        return entry
    raise ContainerError(in_use)


def _make(root: str, path: str, step: str) -> bool:
    """Make a container's directory; False when it is there already."""
    try:
        names.make_directories(root, 0o711)
    except OSError as error:
        raise ContainerError(f"{step}: {root}: {error.strerror}") from error
    try:
        posix.mkdir(path, 0o711)
    except FileExistsError:
        return False
    except OSError as error:
        raise ContainerError(f"{step}: {error.strerror}") from error
    return True


def _unmake(path: str) -> None:
    """Remove a directory that was just made, unless somebody else has taken it since."""
    try:
        posix.rmdir(path)
    except OSError:
        return


def again(entry: Entry) -> Entry | None:
    """The same container, locked; None if somebody has deleted it, or made another one since.

    Raises:
        ContainerError: nothing tells.
    """
    if entry.lock_fd >= 0:
        return entry
    try:
        found = store.find(names.dirname(entry.path), entry.id, lock=True)
    except ContainerError as error:
        from pyrun.particular_errors import NoSuchContainerError

        if isinstance(error, NoSuchContainerError):
            return None
        raise
    if found.state.get("created") == entry.state["created"]:
        return found
    found.unlock()
    return None


def identifiers(root: str) -> list[str]:
    """The ids of all containers, sorted."""
    try:
        found = posix.listdir(root)
    except FileNotFoundError:
        return []
    return sorted(name for name in found if names.is_dir(f"{root}/{name}"))


def matching(root: str, expression: str) -> list[str]:
    """The ids of all containers in which a regular expression is found (crun's ``--regex``).

    Raises:
        ContainerError: it is no regular expression.
    """
    import re

    try:
        pattern = re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise ContainerError(f"{expression!r} is no regular expression: {error}") from error
    return [name for name in identifiers(root) if pattern.search(name)]
