"""A container's directory under --root: found, locked, and its state.json read.

The lock is a flock on the container's directory, so the kernel frees it with its owner. Whoever
finds a directory without a finished state.json, and gets the lock, has found what a killed
``create`` left. ``saving`` writes the files, ``removal`` removes them.
"""

from __future__ import annotations

import posix

from pyrun.errors import ContainerError
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.spec.types import JsonObject, State

STATE = "state.json"
CONFIG = "config.json"  # as it was at create: later changes have no effect (runtime.md)
FIFO = "exec.fifo"
NODE = "device."  # and a number: devices of a user namespace, until init has mounted them
NOTIFY = "notify"  # directory of the socket for sd_notify(3), and the socket in it
_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
_LIMIT = 255  # NAME_MAX
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
        if not self.read_any():
            raise no_such(self.id)

    def read_any(self) -> bool:
        """Read state.json if there is one, and tell.

        Raises:
            DamagedStateError: it does not hold a state.
            ContainerError: it cannot be read.
        """
        path = self.file(STATE)
        try:
            value = jsontext.loads(jsontext.read(path).decode())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise ContainerError(f"read {STATE}: {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise _damaged(self.id, f"{path} is not JSON: {error}") from error
        if type(value) is not dict:
            raise _damaged(self.id, f"{path} must hold a JSON object")
        for name, kind in _SHAPE:
            if type(value.get(name)) is not kind:
                raise _damaged(self.id, f"{path}: /{name} is no {kind.__name__}")
        self.state = value  # type: ignore[assignment]  # written by saving
        return True

    def config(self) -> JsonObject:
        """config.json as it was when the container was created.

        Raises:
            ContainerError: it cannot be read.
        """
        from pyrun.spec import load

        return load.read_object(self.file(CONFIG), CONFIG)[0]

    def unlock(self) -> None:
        """Let others work on the container."""
        if self.lock_fd >= 0:
            posix.close(self.lock_fd)
            self.lock_fd = -1


def no_such(container_id: str) -> ContainerError:
    """The error of an id that no container has."""
    from pyrun.particular_errors import NoSuchContainerError

    return NoSuchContainerError(f"container {container_id} does not exist")


def _damaged(container_id: str, problem: str) -> ContainerError:
    from pyrun.particular_errors import DamagedStateError

    told = f"container {container_id}: its state is damaged (delete --force removes it)"
    return DamagedStateError(f"{told}: {problem}")


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
    if not lock:
        entry.read()
        return entry
    if busy and _is_there(entry) and is_locked(entry) and entry.read_any():
        busy(entry)  # otherwise the other command makes or removes it right now
    while _is_there(entry):
        lock_fd = take_lock(path)
        if lock_fd < 0:
            continue
        entry = Entry(container_id, path, lock_fd)
        try:
            if not damaged:
                entry.read_any()
        except ContainerError:
            entry.unlock()
            raise
        return entry
    raise no_such(container_id)


def _is_there(entry: Entry) -> bool:
    """Whether the container has a directory; what cannot be seen is no reason to say no.

    Raises:
        ContainerError: it cannot be seen.
    """
    try:
        return posix.stat(entry.path).st_mode & 0o170000 == 0o040000
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ContainerError(f"look at {entry.path}: {error.strerror}") from error


def is_locked(entry: Entry) -> bool:
    """Whether some command works on the container now."""
    import fcntl  # not for a state that tells by itself

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


def take_lock(path: str, *, wait: bool = True) -> int:
    """A descriptor that holds the lock; -1 when the directory was replaced meanwhile.

    Raises:
        BlockingIOError: another command has it, and this one is not to ``wait``.
        ContainerError: the directory cannot be opened or locked.
    """
    import fcntl

    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise ContainerError(f"open {path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        now, held = posix.stat(path), posix.fstat(fd)
        if (held.st_dev, held.st_ino) == (now.st_dev, now.st_ino):
            return fd
    except FileNotFoundError:
        pass  # somebody removed it after we had opened it
    except BlockingIOError:
        posix.close(fd)
        raise
    except OSError as error:
        posix.close(fd)
        raise ContainerError(f"lock {path}: {error.strerror}") from error
    posix.close(fd)
    return -1
