"""AppArmor profile and SELinux label of the process to execute (apparmor(7), selinux(8))."""

from __future__ import annotations

import posix

from pyrun import names, syscalls
from pyrun.errors import ConfigError, KernelError


def check(profile: str, label: str) -> None:
    """Refuse what this kernel cannot enforce.

    Args:
        profile: ``process.apparmorProfile``, or an empty string.
        label: ``process.selinuxLabel``, or an empty string.

    Raises:
        ConfigError: the security module is not there.
    """
    if profile and profile != "unconfined" and not _apparmor():
        problem = f"profile {profile!r}: this kernel has no AppArmor; leave it out"
        raise ConfigError("/process/apparmorProfile", problem)
    if label and not has_selinux():
        problem = f"label {label!r}: this kernel has no SELinux policy; leave it out"
        raise ConfigError("/process/selinuxLabel", problem)


def has_selinux() -> bool:
    """Whether files and processes have labels here; a kernel without a policy takes any word."""
    if not names.exists("/sys/fs/selinux/enforce"):
        return False
    with open("/proc/self/attr/current") as own:
        return own.read().rstrip("\0\n") != "kernel"


def _apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled") as switch:
            return switch.read(1) == "Y"
    except FileNotFoundError:
        return False


def apply(profile: str, label: str, proc_fd: int) -> None:
    """Have the next execve(2) change profile and label.

    Args:
        profile: ``process.apparmorProfile``, or an empty string.
        label: ``process.selinuxLabel``, or an empty string.
        proc_fd: /proc/self of the host, opened before the root changed.

    Raises:
        KernelError: the profile is not loaded, or the label is not allowed.
    """
    if profile and _apparmor_word(profile):
        try:
            _write(_apparmor_file(proc_fd), f"exec {profile}", proc_fd)
        except FileNotFoundError as error:
            raise KernelError(f"set the AppArmor profile {profile}", "it is not loaded") from error
        except OSError as error:
            raise KernelError(f"set the AppArmor profile {profile}", error) from error
    if label:
        try:
            _write("attr/exec", label, proc_fd)
        except OSError as error:
            raise KernelError(f"set the SELinux label {label}", error) from error


def label_keys(label: str, proc_fd: int) -> None:
    """Have keyrings made from here on carry a label; the next execve(2) ends it.

    Args:
        label: ``process.selinuxLabel``.
        proc_fd: /proc/self of the host, opened before the root changed.

    Raises:
        KernelError: the label is not allowed.
    """
    try:
        _write("attr/keycreate", label, proc_fd)
    except OSError as error:
        raise KernelError(f"set the SELinux label {label} of keys", error) from error


def _apparmor_word(profile: str) -> bool:
    """``unconfined`` without AppArmor in the kernel is what there is already."""
    return profile != "unconfined" or _apparmor()


def _apparmor_file(proc_fd: int) -> str:
    try:
        posix.stat("attr/apparmor/exec", dir_fd=proc_fd)
    except FileNotFoundError:  # before Linux 5.8
        return "attr/exec"
    return "attr/apparmor/exec"


def _write(name: str, value: str, proc_fd: int) -> None:
    if syscalls.fstatfs_type(proc_fd) != syscalls.PROC_SUPER_MAGIC:
        raise OSError(22, "/proc/self is not on procfs")
    fd = posix.open(name, posix.O_WRONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW, dir_fd=proc_fd)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)
