"""Kernel parameters of the container's namespaces (runtime-spec config-linux.md, "Sysctl")."""

from __future__ import annotations

import posix

from pyrun import syscalls
from pyrun.errors import ConfigError, KernelError

_IPC = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
    "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
)  # fmt: skip
_UTS = ("kernel.domainname", "kernel.hostname")


def check(settings: dict[str, str], own: int) -> None:
    """Refuse a parameter that would change the host.

    Args:
        settings: ``linux.sysctl``.
        own: CLONE_NEW bits of the namespaces that are not the host's.

    Raises:
        ConfigError: a parameter is not of a namespace, or of one that the container shares.
    """
    for name in settings:
        dotted = _dotted(name)
        if not all(part.strip(".") for part in _path(name).split("/")):
            # net/../kernel/x would be of the host
            raise ConfigError(f"/linux/sysctl/{name}", "is not the name of a kernel parameter")
        if dotted in _IPC or dotted.startswith("fs.mqueue."):
            flag, kind = syscalls.CLONE_NEWIPC, "ipc"
        elif dotted.startswith("net."):
            flag, kind = syscalls.CLONE_NEWNET, "network"
        elif dotted in _UTS:
            flag, kind = syscalls.CLONE_NEWUTS, "uts"
        elif dotted.startswith("user."):
            flag, kind = syscalls.CLONE_NEWUSER, "user"
        else:
            raise ConfigError(f"/linux/sysctl/{name}", "is not separate for a container")
        if not own & flag:
            problem = f"needs a {kind} namespace of its own, or it would change the host"
            raise ConfigError(f"/linux/sysctl/{name}", problem)


def _dotted(name: str) -> str:
    """sysctl(8) takes dots or slashes, whichever comes first."""
    first_slash, first_dot = name.find("/"), name.find(".")
    if first_slash >= 0 and (first_dot < 0 or first_slash < first_dot):
        return name.translate({ord("/"): ".", ord("."): "/"})
    return name


def _path(name: str) -> str:
    """Where the parameter is below /proc/sys."""
    return _dotted(name).translate({ord("/"): ".", ord("."): "/"})


def apply(settings: dict[str, str]) -> None:
    """Write each parameter, through the host's procfs: the container's is not to be trusted.

    Raises:
        KernelError: the kernel does not have the parameter or refused the value.
    """
    for name, value in settings.items():
        try:
            _write(_path(name), value)
        except OSError as error:
            raise KernelError(f"set the kernel parameter {name} to {value}", error) from error


def _write(path: str, value: str) -> None:
    proc_fd = posix.open("/proc/sys", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        if syscalls.fstatfs_type(proc_fd) != syscalls.PROC_SUPER_MAGIC:
            raise OSError(22, "/proc is no procfs")
        fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW, dir_fd=proc_fd)
        try:
            posix.write(fd, value.encode())
        finally:
            posix.close(fd)
    finally:
        posix.close(proc_fd)
