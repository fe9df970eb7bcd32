"""state.json under --root: locked, and replaced atomically.

The lock is a flock on the container's directory, so the kernel frees it with its owner. Whoever
finds a directory without a finished state.json, and gets the lock, has found what a killed
``create`` left.
"""

from __future__ import annotations

import errno
import fcntl
import posix
import time

from pyrun import names
from pyrun.errors import (
    ConfigError,
    ContainerError,
    DamagedStateError,
    NoSuchContainerError,
)
from pyrun.spec import jsontext
from pyrun.spec.load import read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.spec.types import JsonObject, State

STATE = "state.json"
CONFIG = "config.json"  # as it was at create: later changes have no effect (runtime.md)
FIFO = "exec.fifo"
_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
_LIMIT = 255  # NAME_MAX
_OWN = frozenset(name + end for name in (STATE, CONFIG, FIFO) for end in ("", ".new"))
# what commands rely on in a state.json
_SHAPE = (
    ("ociVersion", str), ("stage", str), ("pid", int), ("pid_start", int), ("bundle", str),
    ("rootfs", str), ("created", str), ("owner", str), ("annotations", dict), ("hooks", dict),
    ("cgroup", dict),
)  # fmt: skip


class Entry:
    """One container's directory.

    Attributes:
        id: the container's.
        lock_fd: holds the lock, or -1.
        path: the directory, absolute.
        state: what state.json holds; empty when nothing has been written yet.
    """

    __slots__ = ("id", "lock_fd", "path", "state")

    def __init__(self, container_id: str, path: str, lock_fd: int = -1) -> None:
        self.id = container_id
        self.path = path
        self.lock_fd = lock_fd
        self.state: State = {}

    def file(self, name: str) -> str:
        """The path of one of the files kept for this container."""
        return f"{self.path}/{name}"

    def read(self) -> None:
        """Read state.json.

        Raises:
            NoSuchContainerError: it is not there.
            DamagedStateError: it does not hold a state.
            ContainerError: it cannot be read.
        """
        damaged = f"container {self.id}: its state is damaged (delete --force removes it)"
        try:
            value = read_object(self.file(STATE), STATE)[0]
        except ConfigError as error:
            raise DamagedStateError(f"{damaged}: {error.problem}") from error
        except ContainerError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise NoSuchContainerError(f"container {self.id} does not exist") from error
            raise
        for name, kind in _SHAPE:
            if type(value.get(name)) is not kind:
                problem = f"{self.file(STATE)}: /{name} is no {kind.__name__}"
                raise DamagedStateError(f"{damaged}: {problem}")
        self.state = value  # type: ignore[assignment]  # written by save

    def save(self) -> None:
        """Replace state.json.

        Raises:
            ContainerError: it could not be written.
        """
        self.write(STATE, jsontext.dumps(self.state).encode())

    def write(self, name: str, data: bytes) -> None:
        """Replace one file, whole or not at all.

        Raises:
            ContainerError: it could not be written.
        """
        replace(self.file(name), data, f"save {name} of container {self.id}")

    def config(self) -> JsonObject:
        """config.json as it was when the container was created.

        Raises:
            ContainerError: it cannot be read.
        """
        return read_object(self.file(CONFIG), CONFIG)[0]

    def remove(self) -> None:
        """Remove the directory with everything in it; the lock goes with it.

        Raises:
            ContainerError: it could not be removed.
        """
        try:
            self.empty()
            posix.rmdir(self.path)
        except OSError as error:
            raise ContainerError(f"remove {self.path}: {error.strerror}") from error

    def empty(self) -> None:
        """Remove the files, such as those that a killed command left; the lock stays.

        Raises:
            ContainerError: the directory is somebody else's (a wrong --root).
        """
        found = posix.listdir(self.path)
        others = sorted(set(found) - _OWN)
        if others:
            raise ContainerError(f"{self.path} is no container: it holds {others[0]!r}")
        for name in found:
            posix.unlink(self.file(name))

    def unlock(self) -> None:
        """Let others work on the container."""
        if self.lock_fd >= 0:
            posix.close(self.lock_fd)
            self.lock_fd = -1


def replace(path: str, data: bytes, step: str, mode: int = 0o600) -> None:
    """Write a file under another name and rename it.

    Raises:
        ContainerError: with ``step``.
    """
    new = f"{path}.new"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        fd = posix.open(new, flags, mode)
        try:
            while data:
                data = data[posix.write(fd, data) :]
        finally:
            posix.close(fd)
        posix.rename(new, path)
    except OSError as error:
        raise ContainerError(f"{step}: {error.strerror}") from error


def check_id(container_id: str) -> None:
    """Refuse what cannot name a directory.

    Raises:
        ContainerError: the id is empty, too long, or has other characters than runc allows.
    """
    if not container_id or container_id in (".", "..") or not _ALLOWED.issuperset(container_id):
        problem = "must be made of letters, digits, and _ + - ."
        raise ContainerError(f"invalid container ID format: {container_id!r} {problem}")
    if len(container_id) > _LIMIT:
        raise ContainerError(
            f"invalid container ID format: longer than {_LIMIT} characters: {container_id[:40]}..."
        )


def reserve(root: str, container_id: str) -> Entry:
    """Make and lock the directory of a new container.

    The entry has a state when a killed command left one: the caller cleans up what it names.

    Raises:
        ContainerError: the id is invalid or in use, or the directory cannot be made.
    """
    check_id(container_id)
    path = f"{root}/{container_id}"
    in_use = f"create container {container_id}: a container with this id exists already"
    for _ in range(100):  # another command may be removing it right now
        try:
            names.make_directories(root, 0o711)
            posix.mkdir(path, 0o711)
        except FileExistsError:
            pass
        except OSError as error:
            raise ContainerError(
                f"create container {container_id}: make {path}: {error.strerror}"
            ) from error
        lock_fd = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB, in_use)
        if lock_fd < 0:
            continue
        entry = Entry(container_id, path, lock_fd)
        if names.exists(entry.file(STATE)):
            entry.read()
            if entry.state.get("stage") != "creating":
                entry.unlock()
                raise ContainerError(in_use)
        return entry
    raise ContainerError(in_use)


def find(
    root: str,
    container_id: str,
    *,
    lock: bool,
    damaged: bool = False,
    busy: Callable[[Entry], None] | None = None,
) -> Entry:
    """The directory of an existing container; ``state`` is empty in what a killed create left.

    Args:
        root: of ``--root``.
        container_id: of the container.
        lock: waits until no other command works on it, and keeps others from it.
        damaged: takes one without a readable state, too; ``state`` is empty then.
        busy: called once, before waiting for another command, with what can be read meanwhile.

    Raises:
        NoSuchContainerError: there is no such container.
        DamagedStateError: its state.json is damaged.
        ContainerError: it cannot be read.
    """
    check_id(container_id)
    path = f"{root}/{container_id}"
    entry = Entry(container_id, path)
    missing = f"container {container_id} does not exist"
    if not lock:
        entry.read()
        return entry
    if busy and names.is_dir(path) and is_locked(entry):
        try:
            entry.read()
        except NoSuchContainerError:  # the other command makes or removes it right now
            pass
        else:
            busy(entry)
    while names.is_dir(path):
        lock_fd = _lock(path, fcntl.LOCK_EX, missing)
        if lock_fd < 0:
            continue
        entry = Entry(container_id, path, lock_fd)
        if names.exists(entry.file(STATE)) and not damaged:
            try:
                entry.read()
            except ContainerError:
                entry.unlock()
                raise
        return entry
    raise NoSuchContainerError(missing)


def is_locked(entry: Entry) -> bool:
    """Whether some command works on the container now."""
    try:
        fd = posix.open(entry.path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        posix.close(fd)
    return False


def _lock(path: str, how: int, busy: str) -> int:
    """A descriptor that holds the lock; -1 when the directory was replaced meanwhile."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise ContainerError(f"open {path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, how)
        now = posix.stat(path)
    except OSError as error:
        posix.close(fd)
        if error.errno == errno.ENOENT:
            return -1
        raise ContainerError(busy) from error
    held = posix.fstat(fd)
    if (held.st_dev, held.st_ino) != (now.st_dev, now.st_ino):
        posix.close(fd)
        return -1
    return fd


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


def timestamp() -> str:
    """Now, as RFC 3339 with nanoseconds in UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"
