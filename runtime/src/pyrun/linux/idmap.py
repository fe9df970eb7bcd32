"""Writes uid_map and gid_map (runtime-spec config-linux.md, "User namespace mappings")."""

from __future__ import annotations

import posix

from pyrun import syscalls
from pyrun.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Mappings = list[dict[str, Any]]


def write(pid: int, uids: Mappings, gids: Mappings) -> None:
    """Map the ids of the new user namespace that ``pid`` is in (user_namespaces(7)).

    Raises:
        KernelError: the kernel, newuidmap or newgidmap refused.
    """
    if posix.geteuid() == 0 or not (uids or gids):
        _write(pid, "uid_map", _lines(uids))
        _write(pid, "gid_map", _lines(gids))
        return
    if _is_own(uids, posix.geteuid()) and _is_own(gids, posix.getegid()):
        # one id each needs no privilege, once setgroups(2) is off
        _write(pid, "setgroups", "deny")
        _write(pid, "uid_map", _lines(uids))
        _write(pid, "gid_map", _lines(gids))
        return
    _run("newuidmap", pid, uids)
    _run("newgidmap", pid, gids)


def make_namespace(uids: Mappings, gids: Mappings) -> int:
    """A user namespace without processes, for an idmapped mount; returns its descriptor.

    Raises:
        KernelError: the kernel refused.
    """
    wait_fd, release_fd = posix.pipe()
    result_fd, answer_fd = posix.pipe()
    child = posix.fork()
    if child == 0:
        posix.close(release_fd)
        _hold_namespace(answer_fd, wait_fd)
    posix.close(answer_fd)
    posix.close(wait_fd)
    try:
        number = int(posix.read(result_fd, 4))
        if number:
            raise KernelError("make a user namespace", OSError(number, posix.strerror(number)))
        write(child, uids, gids)
        return posix.open(f"/proc/{child}/ns/user", posix.O_RDONLY | posix.O_CLOEXEC)
    finally:
        posix.close(release_fd)
        posix.close(result_fd)
        posix.waitpid(child, 0)


def _hold_namespace(answer_fd: int, wait_fd: int) -> None:
    """The child: answers with an errno, lives until the other end closes, and never returns."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        posix.write(answer_fd, b"0")
        posix.read(wait_fd, 1)
    except OSError as error:
        posix.write(answer_fd, str(error.errno).encode())
    finally:
        posix._exit(0)


def _is_own(mappings: Mappings, own: int) -> bool:
    return len(mappings) == 1 and mappings[0]["hostID"] == own and mappings[0]["size"] == 1


def _lines(mappings: Mappings) -> str:
    return "".join(
        f"{entry['containerID']} {entry['hostID']} {entry['size']}\n" for entry in mappings
    )


def _write(pid: int, name: str, text: str) -> None:
    if not text:
        return
    try:
        fd = posix.open(f"/proc/{pid}/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, text.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        step = f"write {name} ({text.strip().replace(chr(10), ', ')})"
        raise KernelError(step, error) from error


def _run(program: str, pid: int, mappings: Mappings) -> None:
    """The setuid helper of an unprivileged caller; it checks /etc/subuid and /etc/subgid."""
    words = [str(entry[key]) for entry in mappings for key in ("containerID", "hostID", "size")]
    command = [program, str(pid), *words]
    try:
        child = posix.posix_spawnp(program, command, posix.environ)
    except OSError as error:
        raise KernelError(f"run {program} (Debian: package uidmap)", error) from error
    status = posix.waitstatus_to_exitcode(posix.waitpid(child, 0)[1])
    if status:
        problem = f"{program} ended with status {status}: are the ids in /etc/subuid and subgid?"
        raise KernelError(f"map ids ({' '.join(command)})", problem)
