"""An ordinary user's storage: the program becomes root of a user namespace of that user.

Files in layers belong to many users. In the namespace these are the caller and his subordinate ids
(subuid(5)), so unpacking, removing and mounting are the same code as for root. Without subordinate
ids there is one id, which then owns everything. The namespace, and the mount namespace with the
containers' root file systems, are those of a process that stays (``storage/pause.py``).
"""

from __future__ import annotations

import os

from pyengine import syscalls
from pyengine.config import roots, user
from pyengine.errors import StorageError

PAUSE = "pause"  # in the run directory: who holds the namespaces, and their inodes


def enter(runroot: str) -> None:
    """Go on as root of the user's namespace, which is made if need be; root stays what it is.

    No thread may have been started.

    Args:
        runroot: the run directory, which exists.

    Raises:
        StorageError: the kernel, or newuidmap, does not allow it.
    """
    if os.geteuid() == 0:
        return
    _check_owner(runroot)
    uid = os.geteuid()
    if not join_kept(runroot):
        from pyengine.storage import pause

        pause.make(runroot)
    os.environ[user.MARK], os.environ[user.ENTERED] = str(uid), str(os.getpid())
    # For the runtime, which finds the user's systemd by it.
    os.environ["XDG_RUNTIME_DIR"] = roots.runtime_directory()


def join_kept(runroot: str) -> bool:
    """Enter the namespaces of the process that stays; false where there is none any more."""
    kept = read_pause(runroot)
    return kept is not None and join(kept[0], kept[1:])


def read_pause(runroot: str) -> list[int] | None:
    """Pid, and inodes of the user and the mount namespace, of the process that should hold them."""
    try:
        with open(f"{runroot}/{PAUSE}", encoding="ascii") as file:
            numbers = [int(word) for word in file.read().split()]
    except (FileNotFoundError, ValueError):
        return None
    return numbers if len(numbers) == 3 else None


def join(pid: int, inodes: list[int]) -> bool:
    """Enter the user and the mount namespace of a process, if they have these inodes.

    Raises:
        StorageError: the working directory is not there.
    """
    fds: list[int] = []
    try:
        for kind in ("user", "mnt"):
            fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            fds.append(fd)
        if [os.fstat(fd).st_ino for fd in fds] != inodes:
            return False
        directory = os.getcwd()  # entering a mount namespace leads to its root
        syscalls.setns(fds[0], syscalls.CLONE_NEWUSER)
    except OSError:  # it has ended, or the pid is somebody else's by now
        return False
    else:
        try:
            syscalls.setns(fds[1], syscalls.CLONE_NEWNS)
            os.chdir(directory)
        except OSError as error:
            raise StorageError(
                f"enter the namespaces of process {pid}: {error.strerror}: `pyengine system"
                " migrate` ends it, and the next command makes new ones"
            ) from error
        return True
    finally:
        for fd in fds:
            os.close(fd)


def is_single() -> bool:
    """Whether this namespace has one user only, who then owns every file."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return sum(int(row[2]) for row in rows) == 1


def _check_owner(runroot: str) -> None:
    """Raise StorageError where another user could have put the run directory there."""
    for path in (os.path.dirname(runroot), runroot):
        owner = os.stat(path).st_uid
        if owner not in (0, os.geteuid()):
            raise StorageError(
                f"run directory {runroot}: {path} belongs to user {owner}: set XDG_RUNTIME_DIR, or"
                " give --runroot"
            )
