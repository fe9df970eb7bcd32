"""Keeps containers from writing to the Python that entered them (docs/adr/0009).

A process of the container can get a descriptor of /proc/PID/exe of whoever enters it, and write to
the file when nobody executes it any more (CVE-2019-5736). So pyrun enters containers only from a
read-only mount of its interpreter, made once per boot and taken by the launcher from then on; or,
where that cannot be, from a sealed copy in memory.
"""

from __future__ import annotations

import _stat
import fcntl
import posix
import sys

from pyrun import names, syscalls
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
    if posix.statvfs(_EXE).f_flag & posix.ST_RDONLY or _is_out_of_reach() or _is_sealed():
        return
    sys.stdout.flush()
    arguments = sys.orig_argv[1:]
    mounted = _mount() if posix.geteuid() == 0 else ""
    if mounted:
        posix.execv(mounted, [mounted, *arguments])
    fd = _sealed_copy()
    # By its old name Python finds its library.
    posix.execv(f"/proc/self/fd/{fd}", [sys.executable, *arguments])


def _is_out_of_reach() -> bool:
    """Whether the file belongs to somebody whom no container of this caller can be."""
    if posix.geteuid() == 0:
        return False
    info = posix.stat(_EXE)
    return info.st_uid != posix.geteuid() and not info.st_mode & (_stat.S_IWGRP | _stat.S_IWOTH)


def _is_sealed() -> bool:
    fd = posix.open(_EXE, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return fcntl.fcntl(fd, _F_GET_SEALS) & _SEALS == _SEALS
    except OSError:  # not a file in memory
        return False
    finally:
        posix.close(fd)


def _mount() -> str:
    """The interpreter's name on a read-only mount; empty when there can be none.

    The launcher looks for it under the same name and takes it if it is the same file, so a mount
    of a Python that was upgraded meanwhile is passed by, and replaced here.
    """
    directory = MOUNTS + names.dirname(names.absolute(sys.executable))
    target = f"{directory}/python3"
    real = names.real(_EXE)
    try:
        names.make_directories(directory, 0o755)
        lock_fd = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            if not _is_mounted(target, real):
                _mount_on(target, real, directory)
        finally:
            posix.close(lock_fd)
    except OSError:
        return ""  # /run is read-only, or mounting is not allowed here
    return target


def _is_mounted(target: str, real: str) -> bool:
    try:
        mounted, wanted = posix.stat(target), posix.stat(real)
        same = (mounted.st_dev, mounted.st_ino) == (wanted.st_dev, wanted.st_ino)
        return same and bool(posix.statvfs(target).f_flag & posix.ST_RDONLY)
    except FileNotFoundError:
        return False


def _mount_on(target: str, real: str, directory: str) -> None:
    if names.exists(target):
        try:
            syscalls.umount2(target, syscalls.MNT_DETACH)
        except OSError:  # never mounted on in this mount namespace
            pass
    # Python takes its library from where this file says, as in a virtual environment.
    _replace(f"{directory}/pyvenv.cfg", f"home = {names.dirname(real)}\n")
    _shorten_path(directory)
    # Not executable: where the mount is missing, the launcher must not take the empty file.
    posix.close(posix.open(target, posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC, 0o444))
    syscalls.mount(real, target, None, syscalls.MS_BIND, None)
    flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    remount = syscalls.MS_REMOUNT | syscalls.MS_BIND | flags
    syscalls.mount(None, target, None, remount, None)


def _shorten_path(directory: str) -> None:
    """Let each start find what it needs at once (docs/adr/0011).

    Python takes its whole path from a file of this name. Without one it searches its library, and
    lists three directories of it, before it has as much as its encodings.
    """
    first = f"{directory}/first"
    names.make_directories(first, 0o755)
    package = names.real(sys.modules["pyrun"].__path__[0])
    wanted = [f"{package}/startup/encodings.py", f"{package}/startup/__pycache__"]
    json_module = getattr(sys.modules.get("_json"), "__file__", None)
    if json_module:  # part of the executable in some builds
        wanted.append(json_module)
    for target in wanted:
        _link(target, f"{first}/{names.basename(target)}")
    own = (names.dirname(sys.modules["pyrun"].__path__[0]), first)
    path = [first, *(entry for entry in sys.path if entry not in own and names.exists(entry))]
    _replace(f"{directory}/python3._pth", "".join(f"{entry}\n" for entry in path))


def _replace(path: str, text: str) -> None:
    """Write a file whole or not at all: Python may start beside it, in another mount namespace."""
    with open(f"{path}.new", "w") as file:
        file.write(text)
    posix.rename(f"{path}.new", path)


def _link(target: str, name: str) -> None:
    if names.real(name) != names.real(target):
        try:
            posix.unlink(name)
        except FileNotFoundError:
            pass
        posix.symlink(target, name)


def _sealed_copy() -> int:
    """The interpreter in a file in memory that nobody can change.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        # MFD_ALLOW_SEALING without MFD_CLOEXEC: the number must survive the execve
        copy_fd = posix.memfd_create("pyrun-interpreter", 0x2)
        source_fd = posix.open(_EXE, posix.O_RDONLY | posix.O_CLOEXEC)
        while posix.sendfile(copy_fd, source_fd, None, _CHUNK_BYTES):
            continue
        posix.close(source_fd)
        fcntl.fcntl(copy_fd, _F_ADD_SEALS, _SEALS)
    except OSError as error:
        raise KernelError("make a sealed copy of the Python interpreter", error) from error
    return copy_fd
