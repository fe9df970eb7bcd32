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

END_TIMEOUT_MS = 5000
_HELPERS = ("newuidmap", "newgidmap")
_READY = b"\0"


def make(runroot: str) -> None:
    """Enter namespaces that last, new ones where nothing holds any.

    Raises:
        StorageError: the kernel, or newuidmap, does not allow it.
    """
    lock_fd = _lock(runroot)
    try:
        if user_namespace.join_kept(runroot):  # another command was quicker
            return
        if _join_survivor(runroot):
            _hold(runroot, new=False)
            return
        kept = _hold(runroot, new=True)
        if not user_namespace.join(kept[0], kept[1:]):
            raise StorageError(f"enter the namespaces of process {kept[0]}: it has ended")
    finally:
        os.close(lock_fd)


def end(runroot: str) -> None:
    """End the process that stays; the namespaces go with the last container."""
    lock_fd = _lock(runroot)
    try:
        kept = user_namespace.read_pause(runroot)
        if kept is not None:
            _kill(kept[0], kept[1:])
            os.unlink(f"{runroot}/{user_namespace.PAUSE}")
    finally:
        os.close(lock_fd)


def _lock(runroot: str) -> int:
    """Wait until no other command makes or ends it; the answer is to be closed."""
    path = f"{runroot}/{user_namespace.PAUSE}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _kill(pid: int, inodes: list[int]) -> None:
    import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)

    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _inodes(pid) == inodes:
            _signal.pidfd_send_signal(pidfd, _signal.SIGKILL)
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            poller.poll(END_TIMEOUT_MS)
    except OSError as error:
        log.debug(f"end process {pid}: {error.strerror}")
    finally:
        os.close(pidfd)


def _keep(runroot: str, pid: int) -> list[int]:
    """Write who holds the namespaces; the answer is what was written."""
    kept = [pid, *_inodes(pid)]
    path = f"{runroot}/{user_namespace.PAUSE}"
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(" ".join(map(str, kept)))
    os.rename(f"{path}.new", path)
    return kept


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


def _hold(runroot: str, *, new: bool) -> list[int]:
    """Start the process that stays, in ``new`` namespaces or in those that this process is in.

    It waits until it is written down, so that none is forgotten when we are killed.
    """
    ready_r, ready_w = os.pipe()
    go_r, go_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_w)
        _run_child(ready_w, go_r, new=new)
    os.close(ready_w)
    os.close(go_r)
    try:
        answer = os.read(ready_r, 1)
        kept = []
        if answer == _READY:
            if new:
                _map(pid)
            kept = _keep(runroot, pid)
            os.write(go_w, _READY)
    finally:
        os.close(go_w)
        problem = _read_all(ready_r)  # which is closed by the execution of what sleeps
    if problem or answer != _READY:
        raise StorageError((answer + problem).lstrip(_READY).decode(errors="replace"))
    return kept


def _read_all(fd: int) -> bytes:
    data = b""
    while piece := os.read(fd, 4096):
        data += piece
    os.close(fd)
    return data


def _run_child(ready_w: int, go_r: int, *, new: bool) -> None:
    """The life of the process that stays; does not return."""
    try:
        os.setsid()
        if new:
            _make_namespaces()
        os.write(ready_w, _READY)
        if not os.read(go_r, 1):
            os._exit(1)  # who started us could not go on, or was killed
        syscalls.mount("", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE, None)
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


def _make_namespaces() -> None:
    uid = os.geteuid()
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    except OSError as error:
        raise StorageError(
            f"make a user namespace for user {uid}: {error.strerror}; run as root, or allow it "
            "(sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)"
        ) from error


def _map(pid: int) -> None:
    """Give the user namespace of a process its ids.

    Raises:
        StorageError: there are ids that cannot be mapped.
    """
    uid, gid = os.geteuid(), os.getegid()
    maps = [_words("/etc/subuid", uid, uid), _words("/etc/subgid", uid, gid)]
    if all(maps):
        _write_maps(pid, uid, maps)
        return
    log.warning(
        f"user {uid} has no ids in /etc/subuid and /etc/subgid: one id owns everything, and"
        " some images do not work: let root add some (`usermod --add-subuids 100000-165535"
        " --add-subgids 100000-165535`), and run `pyengine system migrate`"
    )
    _map_one(pid, uid, gid)


def _words(path: str, uid: int, own: int) -> list[str]:
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


def _write_maps(pid: int, uid: int, maps: list[list[str]]) -> None:
    """Run both helpers, which may do it."""
    import subprocess

    what = f"map the subordinate ids of user {uid}"
    for helper, words in zip(_HELPERS, maps, strict=True):
        try:
            done = subprocess.run(
                [helper, str(pid), *words], capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise StorageError(
                f"{what}: {helper}: {error.strerror}: install it (Debian's package is uidmap)"
            ) from error
        if done.returncode != 0:
            raise StorageError(f"{what}: {helper}: {done.stderr.strip()}")


def _map_one(pid: int, uid: int, gid: int) -> None:
    """The caller alone as root, which needs no helper (user_namespaces(7))."""
    for name, text in (
        ("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1"),
    ):  # fmt: skip
        try:
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            raise StorageError(f"map ids of user {uid}: {name}: {error.strerror}") from error
