"""Makes the namespaces of an ordinary user, and the process that holds them between commands.

It only sleeps. Where it was killed while containers run, these hold the namespaces.
"""

from __future__ import annotations

import fcntl
import os
import select

from pyengine import log, syscalls
from pyengine.errors import StorageError
from pyengine.storage import user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

END_TIMEOUT_MS = 5000
_HELPERS = ("newuidmap", "newgidmap")
_READY, _MAPPED, _ALONE = b"\0", b"m", b"a"


def make(runroot: str) -> None:
    """Enter namespaces that last, new ones where nothing holds any.

    Raises:
        StorageError: the kernel, or newuidmap, does not allow it.
    """
    lock_fd = os.open(f"{runroot}/{user_namespace.PAUSE}.lock", os.O_RDWR | os.O_CREAT
                      | os.O_CLOEXEC, 0o600)  # fmt: skip
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        if user_namespace.join_kept(runroot):  # another command was quicker
            return
        if _join_survivor(runroot):
            _keep(runroot, _hold_these())
            return
        pid = _hold_new()
        inodes = _keep(runroot, pid)
        if not user_namespace.join(pid, inodes):
            raise StorageError(f"enter the namespaces of process {pid}: it has ended")
    finally:
        os.close(lock_fd)


def end(runroot: str) -> None:
    """End the process that stays; the namespaces go with the last container."""
    import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)

    kept = user_namespace.read_pause(runroot)
    if kept is None:
        return
    try:
        pidfd = os.pidfd_open(kept[0])
    except ProcessLookupError:
        return
    try:
        if _inodes(kept[0]) == kept[1:]:
            _signal.pidfd_send_signal(pidfd, _signal.SIGKILL)
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            poller.poll(END_TIMEOUT_MS)
    except OSError as error:
        log.debug(f"end process {kept[0]}: {error.strerror}")
    finally:
        os.close(pidfd)
    try:
        os.unlink(f"{runroot}/{user_namespace.PAUSE}")
    except FileNotFoundError:  # another command has done the same
        return


def _keep(runroot: str, pid: int) -> list[int]:
    """Write who holds the namespaces; the answer is their inodes."""
    inodes = _inodes(pid)
    path = f"{runroot}/{user_namespace.PAUSE}"
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(" ".join(map(str, [pid, *inodes])))
    os.rename(f"{path}.new", path)
    return inodes


def _inodes(pid: int) -> list[int]:
    return [os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in ("user", "mnt")]


def _join_survivor(runroot: str) -> bool:
    """Enter the namespaces of a monitor that still runs."""
    try:
        ids = os.listdir(f"{runroot}/containers")
    except FileNotFoundError:
        return False
    own = os.stat("/proc/self/ns/user").st_ino
    for id_ in ids:
        try:
            with open(f"{runroot}/containers/{id_}/conmon.pid", encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if id_ not in file.read().decode(errors="replace").split("\0"):
                    continue
            inodes = _inodes(pid)
        except (OSError, ValueError):  # it has ended, or never started
            continue
        if inodes[0] != own and user_namespace.join(pid, inodes):
            return True
    return False


def _hold_these() -> int:
    """Start a process that stays in the namespaces that this one is in."""
    ready_r, ready_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run_child(ready_w, lambda: None)
    os.close(ready_w)
    _wait_until_it_sleeps(ready_r)
    return pid


def _hold_new() -> int:
    """Start a process that stays, in namespaces of its own."""
    uid, gid = os.geteuid(), os.getegid()
    maps = [_map("/etc/subuid", uid, uid), _map("/etc/subgid", uid, gid)]
    ready_r, ready_w = os.pipe()
    mapped_r, mapped_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run_child(ready_w, lambda: _make_namespaces(ready_w, mapped_r, mapped_w, (uid, gid)))
    os.close(ready_w)
    os.close(mapped_r)
    first = os.read(ready_r, 1)
    problem = ""
    if first == _READY:
        first = b""
        if all(maps):
            problem = _write_maps(pid, maps)
        else:
            log.warning(
                f"user {uid} has no ids in /etc/subuid and /etc/subgid: one id owns everything, and"
                " some images do not work: let root add some (`usermod --add-subuids 100000-165535"
                " --add-subgids 100000-165535`), and run `pyengine system migrate`"
            )
        if not problem:
            os.write(mapped_w, _MAPPED if all(maps) else _ALONE)
    os.close(mapped_w)
    _wait_until_it_sleeps(ready_r, first)
    if problem:
        raise StorageError(f"map the subordinate ids of user {uid}: {problem}")
    return pid


def _wait_until_it_sleeps(ready_r: int, problem: bytes = b"") -> None:
    """Read the other end, which is closed by the execution of what sleeps."""
    while piece := os.read(ready_r, 4096):
        problem += piece
    os.close(ready_r)
    if problem:
        raise StorageError(problem.decode(errors="replace"))


def _run_child(ready_w: int, prepare: Callable[[], None]) -> None:
    """The life of the process that stays; does not return."""
    try:
        os.setsid()
        prepare()
        os.chdir("/")
        null_fd = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null_fd, fd)
        # Whatever we were given, such as a pipe whose reader waits for its end, is let go.
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != ready_w:
                _close(int(name))
        os.execvpe("sleep", ["sleep", "infinity"], {"PATH": os.environ.get("PATH", os.defpath)})
    except StorageError as error:
        os.write(ready_w, str(error).encode())
    except OSError as error:
        os.write(ready_w, f"hold the namespaces of an ordinary user: {error}".encode())
    finally:
        os._exit(1)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError as error:  # the one that listed the others
        log.debug(f"close {fd}: {error.strerror}")


def _make_namespaces(ready_w: int, mapped_r: int, mapped_w: int, own: tuple[int, int]) -> None:
    os.close(mapped_w)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    except OSError as error:
        raise StorageError(
            f"make a user namespace for user {own[0]}: {error.strerror}; run as root, or allow it "
            "(sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)"
        ) from error
    os.write(ready_w, _READY)
    answer = os.read(mapped_r, 1)
    if answer == _ALONE:
        _map_one(*own)
    elif answer != _MAPPED:
        os._exit(1)  # who started us was killed
    syscalls.mount("", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE, None)


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
    """Run both helpers, which may do it; the answer is what went wrong, or nothing."""
    import subprocess

    for helper, words in zip(_HELPERS, maps, strict=True):
        try:
            done = subprocess.run(
                [helper, str(pid), *words], capture_output=True, text=True, check=False
            )
        except OSError as error:
            return f"{helper}: {error.strerror}: install it (Debian's package is uidmap)"
        if done.returncode != 0:
            return f"{helper}: {done.stderr.strip()}"
    return ""


def _map_one(uid: int, gid: int) -> None:
    """The caller alone as root, which needs no helper (user_namespaces(7))."""
    try:
        for name, text in (
            ("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1"),
        ):  # fmt: skip
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    except OSError as error:
        raise StorageError(f"map ids of user {uid}: {error.strerror}") from error
