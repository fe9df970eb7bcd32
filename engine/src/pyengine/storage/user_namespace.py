"""An ordinary user's storage: the program starts again as root of a user namespace of its own.

Files in layers belong to many users. In the namespace these are the caller and his subordinate ids
(subuid(5)), so unpacking, removing and mounting are the same code as for root. Without subordinate
ids there is one id, which then owns everything.
"""

from __future__ import annotations

import os
import sys

from pyengine import log, syscalls
from pyengine.config import user
from pyengine.errors import StorageError

_HELPERS = ("newuidmap", "newgidmap")


def enter() -> None:
    """Start this program again in a user namespace, unless it is root already. Does not return.

    Nothing may have been read from standard input, and no thread started.

    Raises:
        StorageError: the kernel, or newuidmap, does not allow it.
    """
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    maps = [_map("/etc/subuid", uid, uid), _map("/etc/subgid", uid, gid)]
    ready_r, ready_w = os.pipe()
    done_r, done_w = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(ready_w)
        os.close(done_r)
        os.read(ready_r, 1)  # the namespace is there
        os.write(done_w, _write_maps(os.getppid(), maps).encode())
        os._exit(0)
    os.close(ready_r)
    os.close(done_w)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    except OSError as error:
        os.close(ready_w)
        os.waitpid(helper, 0)
        raise StorageError(
            f"make a user namespace for user {uid}: {error.strerror}; run as root, or allow it "
            "(sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)"
        ) from error
    os.write(ready_w, b"x")
    os.close(ready_w)
    problem = _read_all(done_r)
    os.waitpid(helper, 0)
    if problem:
        log.debug(f"map subordinate ids of user {uid}: {problem}")
        _map_one(uid, gid)
    syscalls.mount("", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE, None)
    os.environ[user.MARK], os.environ[user.ENTERED] = str(uid), str(os.getpid())
    sys.stdout.flush()
    os.execv(sys.executable, sys.orig_argv)


def is_single() -> bool:
    """Whether this namespace has one user only, who then owns every file."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return sum(int(row[2]) for row in rows) == 1


def _map(path: str, uid: int, own: int) -> list[str]:
    """Words for newuidmap: the caller as root, then his subordinate ids; none without them."""
    import pwd

    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        names = {str(uid)}
    words, following = ["0", str(own), "1"], 1
    try:
        with open(path, encoding="utf-8") as file:
            rows = [line.strip().split(":") for line in file]
    except FileNotFoundError:
        return []
    for row in rows:
        if len(row) == 3 and row[0] in names and row[1].isdigit() and row[2].isdigit():
            words += [str(following), row[1], row[2]]
            following += int(row[2])
    return words if following > 1 else []


def _write_maps(pid: int, maps: list[list[str]]) -> str:
    """Run both helpers, which are allowed to; what went wrong, or nothing."""
    import subprocess

    for helper, words in zip(_HELPERS, maps, strict=True):
        if not words:
            return "there are none in /etc/subuid or /etc/subgid"
        try:
            done = subprocess.run(
                [helper, str(pid), *words], capture_output=True, text=True, check=False
            )
        except OSError as error:
            return f"{helper}: {error.strerror}"
        if done.returncode != 0:
            return f"{helper}: {done.stderr.strip()}"
    return ""


def _map_one(uid: int, gid: int) -> None:
    """The caller alone as root, which needs no helper (user_namespaces(7))."""
    try:
        with open("/proc/self/uid_map") as file:
            if file.read().strip():
                raise StorageError(
                    f"map ids of user {uid}: newgidmap failed after newuidmap: correct /etc/subgid"
                )
        for name, text in (
            ("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1"),
        ):  # fmt: skip
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    except OSError as error:
        raise StorageError(f"map ids of user {uid}: {error.strerror}") from error


def _read_all(fd: int) -> str:
    data = b""
    while piece := os.read(fd, 4096):
        data += piece
    os.close(fd)
    return data.decode()
