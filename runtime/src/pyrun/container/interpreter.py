"""Keeps containers from writing to the Python that entered them (docs/adr/0009).

A process of the container can get a descriptor of /proc/PID/exe of whoever enters it, and write to
the file when nobody executes it any more (CVE-2019-5736). So pyrun enters containers only from a
read-only mount of its interpreter, made once per boot and taken by the launcher from then on; or,
where that cannot be, from a sealed copy in memory.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys

from pyrun import syscalls
from pyrun.errors import KernelError

MOUNTS = "/run/pyrun-interpreter"
_EXE = "/proc/self/exe"
_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, _SHRINK, _GROW, _WRITE
_F_ADD_SEALS = 1033
_F_GET_SEALS = 1034
_CHUNK_BYTES = 1 << 24


def protect() -> None:
    """Return if no container can write to this interpreter; start again from one like that if not.

    Raises:
        KernelError: neither a mount nor a copy could be made.
    """
    if os.statvfs(_EXE).f_flag & os.ST_RDONLY or _is_out_of_reach() or _is_sealed():
        return
    sys.stdout.flush()
    arguments = sys.orig_argv[1:]
    mounted = _mount() if os.geteuid() == 0 else ""
    if mounted:
        os.execv(mounted, [mounted, *arguments])
    fd = _sealed_copy()
    # By its old name Python finds its library.
    os.execv(f"/proc/self/fd/{fd}", [sys.executable, *arguments])


def _is_out_of_reach() -> bool:
    """Whether the file belongs to somebody whom no container of this caller can be."""
    if os.geteuid() == 0:
        return False
    info = os.stat(_EXE)
    return info.st_uid != os.geteuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_sealed() -> bool:
    fd = os.open(_EXE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(fd, _F_GET_SEALS) & _SEALS == _SEALS
    except OSError:  # not a file in memory
        return False
    finally:
        os.close(fd)


def _mount() -> str:
    """The interpreter's name on a read-only mount; empty when there can be none.

    The launcher looks for it under the same name and takes it if it is the same file, so a mount
    of a Python that was upgraded meanwhile is passed by, and replaced here.
    """
    directory = MOUNTS + os.path.dirname(os.path.abspath(sys.executable))
    target = f"{directory}/python3"
    real = os.path.realpath(_EXE)
    try:
        os.makedirs(directory, 0o755, exist_ok=True)
        lock_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            if not _is_mounted(target, real):
                _mount_on(target, real, directory)
        finally:
            os.close(lock_fd)
    except OSError:
        return ""  # /run is read-only, or mounting is not allowed here
    return target


def _is_mounted(target: str, real: str) -> bool:
    try:
        same = os.path.samefile(target, real)
        return same and bool(os.statvfs(target).f_flag & os.ST_RDONLY)
    except FileNotFoundError:
        return False


def _mount_on(target: str, real: str, directory: str) -> None:
    if os.path.exists(target):
        try:
            syscalls.umount2(target, syscalls.MNT_DETACH)
        except OSError:  # never mounted on in this mount namespace
            pass
    # Python takes its library from where this file says, as in a virtual environment.
    with open(f"{directory}/pyvenv.cfg", "w") as config:
        config.write(f"home = {os.path.dirname(real)}\n")
    # Not executable: where the mount is missing, the launcher must not take the empty file.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    syscalls.mount(real, target, None, syscalls.MS_BIND, None)
    flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    remount = syscalls.MS_REMOUNT | syscalls.MS_BIND | flags
    syscalls.mount(None, target, None, remount, None)


def _sealed_copy() -> int:
    """The interpreter in a file in memory that nobody can change.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        # MFD_ALLOW_SEALING without MFD_CLOEXEC: the number must survive the execve
        copy_fd = os.memfd_create("pyrun-interpreter", 0x2)
        source_fd = os.open(_EXE, os.O_RDONLY | os.O_CLOEXEC)
        while os.sendfile(copy_fd, source_fd, None, _CHUNK_BYTES):
            continue
        os.close(source_fd)
        fcntl.fcntl(copy_fd, _F_ADD_SEALS, _SEALS)
    except OSError as error:
        raise KernelError("make a sealed copy of the Python interpreter", error) from error
    return copy_fd
