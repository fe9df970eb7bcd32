"""What becomes of a process between entering the container and execve(2); for init and exec."""

from __future__ import annotations

import _stat
import errno
import posix

from pyrun import names, syscalls
from pyrun.container import fork
from pyrun.errors import ContainerError, KernelError, PyrunError
from pyrun.linux import capabilities, rlimits, stdio
from pyrun.particular_errors import CommandNotExecutableError, CommandNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.listener import Listener
    from pyrun.linux.seccomp.filters import Filter
    from pyrun.spec.types import JsonObject

# Imported for the processes that ask for it, and then before the root changes.
_RARE = {
    "pyrun.linux.lsm": ("apparmorProfile", "selinuxLabel"),
    "pyrun.linux.scheduler": ("scheduler", "ioPriority"),
    "pyrun.linux.affinity": ("execCPUAffinity",),
}
_PASSWD_LIMIT_BYTES = 1 << 24
_MANY_PROCESSORS = 1024  # their numbers may have gaps; those that there are not count for nothing
_MOST = 0xFFFFFFFF  # the last descriptor that close_range(2) knows
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Identity:
    """What the process may do, parsed before anything is made.

    Attributes:
        personality: ``linux.personality``.
        keep_groups: the process has the caller's groups (crun's keep_original_groups).
        process: ``process`` of config.json.
        sets: its capabilities; None leaves them as they are.
        known: the bounding set of the caller; of the user namespace, once it has been entered.
        filter: the compiled seccomp profile, or None.
        confined: the filter is loaded.
        listener: who gets the filter's notify descriptor, or None.
        memory_policy: ``linux.memoryPolicy``.
        limits: ``rlimits`` that the process still has to set for itself.
        tight_limits: those under which Python could not go on, set right before the program.
        env: of the process, one string per variable.
        warnings: what the process asked for and will not have, as the specification allows.
    """

    __slots__ = (
        "confined", "env", "filter", "keep_groups", "known", "limits", "listener", "memory_policy",
        "personality", "process", "sets", "tight_limits", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        process: JsonObject,
        linux: JsonObject,
        compiled: Filter | None = None,
        *,
        user_namespace: bool = False,
    ) -> None:
        self.process = process
        self.personality: JsonObject = linux.get("personality") or {}
        self.memory_policy: JsonObject = linux.get("memoryPolicy") or {}
        self.filter = compiled
        self.confined = False
        self.keep_groups = False
        self.listener: Listener | None = None
        sets = process.get("capabilities")
        self.sets = capabilities.Sets(sets or {})
        self.known = capabilities.own_bounding_set()
        limits: list[JsonObject] = process.get("rlimits") or []
        self.limits = [limit for limit in limits if not rlimits.is_tight(limit)]
        self.tight_limits = [limit for limit in limits if rlimits.is_tight(limit)]
        self.warnings = list(self.sets.warnings)
        if not user_namespace:
            self.warnings += self.sets.beyond(self.known)
        self.env = list(process.get("env") or ())
        for module, settings in _RARE.items():
            if any(process.get(name) for name in settings):
                __import__(module)
        if self.personality:
            __import__("pyrun.linux.scheduler")
        if self.memory_policy:
            __import__("pyrun.linux.memory_policy")

    def notes(self) -> list[str]:
        """What there is to say about the profile, for the debug log."""
        return self.filter.notes if self.filter else []

    def enter_user_namespace(self) -> None:
        """Whoever enters one has every capability in it, whatever the caller lacks."""
        self.known = capabilities.own_bounding_set()


def keeps_groups(config: JsonObject) -> bool:
    """Whether an annotation of crun has the process keep the caller's groups."""
    annotations = config.get("annotations") or {}
    return bool(annotations.get("run.oci.keep_original_groups", "0") != "0")


def open_proc_self() -> int:
    """This process in the host's procfs, which stays usable when the root has changed.

    Raises:
        KernelError: /proc of the host is no procfs.
    """
    try:
        fd = posix.open("/proc/self/", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open /proc/self of the host", error) from error
    if syscalls.fstatfs_type(fd) != syscalls.PROC_SUPER_MAGIC:
        raise KernelError("open /proc/self of the host", "it is not on procfs")
    return fd


def use_every_processor() -> None:
    """Do not hand on the processors that pyrun's caller was kept on; the cgroup's are the limit."""
    count = posix.cpu_count() or 1
    if len(posix.sched_getaffinity(0)) >= count:
        return
    try:
        posix.sched_setaffinity(0, range(max(count, _MANY_PROCESSORS)))
    except OSError:
        return  # a seccomp filter of the caller's: it keeps the processors it has


def settle(identity: Identity, proc_fd: int, *, waits: bool = False) -> str:
    """Give up what the process may not have; returns the path of the program to execute.

    Args:
        identity: of the process.
        proc_fd: from ``open_proc_self``.
        waits: for ``start`` to have it execute the program, and does nothing else before that. Then
            the filter is loaded now if it allows this: it would take time of ``start``.

    Raises:
        PyrunError: a setting was refused, or there is no such program.
    """
    process = identity.process
    user = process.get("user") or {}
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    profile, label = process.get("apparmorProfile") or "", process.get("selinuxLabel") or ""
    if profile or label:
        from pyrun.linux import lsm

        lsm.apply(profile, label, proc_fd)
    cwd = process.get("cwd") or "/"
    _schedule(identity)
    entered = _enter(cwd)
    if entered:
        _check_cwd(cwd)  # before the filter, which may refuse getcwd(2)
    if process.get("noNewPrivileges"):
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    else:
        load_filter(identity, proc_fd)  # needs the privileges that are given up next
    stdio.give(uid)
    rlimits.apply(0, identity.limits)
    capabilities.drop_bounding(identity.sets, identity.known)
    allowed = not identity.keep_groups and _may_set_groups(proc_fd)
    if allowed or identity.keep_groups or not user.get("additionalGids"):
        capabilities.change_user(uid, gid, user.get("additionalGids") or [], set_groups=allowed)
    else:
        raise ContainerError("set the additional groups: this user namespace allows none")
    if user.get("umask") is not None:
        posix.umask(user["umask"] & 0o777)  # as the kernel does with the rest
    capabilities.apply(identity.sets, identity.known)
    if not entered:
        if not _enter(cwd):  # a directory that only the user may enter
            raise KernelError(f"change to the working directory {cwd}", "Permission denied")
        _check_cwd(cwd)
    _set_home(identity.env, uid)
    # a change of credentials resets this; set again, nobody in the container can look inside
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    path = find_program(process["args"][0], identity.env)
    # As late as create allows where there is a listener: start is another command, and knows none.
    early = waits and identity.filter is not None and identity.filter.lets_wait
    if not identity.confined and (identity.listener is not None or early):
        load_filter(identity, proc_fd)
    return path


def _schedule(identity: Identity) -> None:
    process = identity.process
    if identity.memory_policy:
        from pyrun.linux import memory_policy  # the parent has imported it already

        memory_policy.apply(identity.memory_policy)
    asked = (process.get("scheduler"), process.get("ioPriority"), identity.personality)
    if not any(asked):
        return
    from pyrun.linux import scheduler

    if process.get("scheduler"):
        scheduler.set_policy(process["scheduler"])
    if process.get("ioPriority"):
        scheduler.set_io_priority(process["ioPriority"])
    if identity.personality:
        scheduler.set_personality(identity.personality)


def check_labels(process: JsonObject) -> None:
    """Refuse a profile or a label that this kernel cannot enforce.

    Raises:
        ConfigError: the security module is not there.
    """
    profile, label = process.get("apparmorProfile") or "", process.get("selinuxLabel") or ""
    if profile or label:
        from pyrun.linux import lsm

        lsm.check(profile, label)


def label_keyring(process: JsonObject, proc_fd: int) -> None:
    """Have the session keyring carry the process's label, or SELinux keeps the process from it.

    Args:
        process: ``process`` of config.json.
        proc_fd: from ``open_proc_self``.

    Raises:
        KernelError: the label is not allowed.
    """
    if process.get("selinuxLabel"):
        from pyrun.linux import lsm

        lsm.label_keys(process["selinuxLabel"], proc_fd)


def hide_descriptors(first: int, kept: list[int]) -> None:
    """Keep what is open from ``first`` on from the program (CVE-2024-21626).

    Before the filter is loaded, which may not allow close_range(2); what is opened later is
    opened with O_CLOEXEC.

    Args:
        first: descriptors below are the program's.
        kept: what this process needs itself before it becomes the program. The rest is closed at
            once: a created container must not keep the pipes and locks of whoever called create.
    """
    syscalls.close_range(first, _MOST, syscalls.CLOSE_RANGE_CLOEXEC)
    for fd in sorted(kept):
        if fd > first:
            syscalls.close_range(first, fd - 1, 0)
        first = max(first, fd + 1)
    syscalls.close_range(first, _MOST, 0)


def load_filter(identity: Identity, proc_fd: int = -1) -> None:
    """Load the seccomp filter, if there is one.

    Args:
        identity: of the process.
        proc_fd: from ``open_proc_self``; needed where the filter has a listener.

    Raises:
        KernelError: the kernel refused.
    """
    if identity.listener is not None and identity.filter is not None:
        identity.listener.load(identity.filter, proc_fd)
    elif identity.filter is not None:
        from pyrun.linux.seccomp import filters  # the parent has imported it already

        filters.load(identity.filter.program, identity.filter.flags)
    identity.confined = True


def confine(identity: Identity) -> None:
    """Load the filter as late as can be, where ``settle`` has not loaded it already.

    Raises:
        KernelError: the kernel refused.
    """
    if not identity.confined:
        load_filter(identity)


def execute(path: str, identity: Identity) -> None:
    """Become the program.

    Raises:
        ContainerError: the kernel refused to execute it.
    """
    args = identity.process["args"]
    env = dict(entry.partition("=")[::2] for entry in identity.env)
    fork.reset_signals()
    try:
        rlimits.apply(0, identity.tight_limits)
        confine(identity)
        posix.execve(path, args, env)
    except OSError as error:
        raise refused(args[0], error) from error
    except MemoryError as error:
        problem = "RLIMIT_AS or RLIMIT_DATA leaves it too little memory"
        raise KernelError(f"execute {args[0]}", problem) from error


def _enter(cwd: str) -> bool:
    """Change the directory; whether it was allowed.

    Raises:
        KernelError: it cannot be entered for another reason.
    """
    try:
        posix.chdir(cwd)
    except PermissionError:
        return False
    except OSError as error:
        raise KernelError(f"change to the working directory {cwd}", error) from error
    return True


def _check_cwd(cwd: str) -> None:
    """A leaked descriptor such as /proc/self/fd/7 must not lead out of the root (CVE-2024-21626).

    Raises:
        KernelError: the directory is outside of the root.
    """
    try:
        real = posix.getcwd()
    except FileNotFoundError:
        real = "(unreachable)"
    except OSError as error:  # a seccomp profile may refuse it, in a directory of the user's own
        raise KernelError(
            f"check that the working directory {cwd} is in the root", error
        ) from error
    if not real.startswith("/"):
        raise KernelError(f"change to the working directory {cwd}", "it is outside of the root")


def _may_set_groups(proc_fd: int) -> bool:
    fd = posix.open("setgroups", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=proc_fd)
    try:
        return posix.read(fd, 16).strip() != b"deny"
    finally:
        posix.close(fd)


def _set_home(env: list[str], uid: int) -> None:
    """HOME as the image's /etc/passwd has it, where nothing else was asked for."""
    if [entry for entry in env if entry.startswith("HOME=")][-1:] not in ([], ["HOME="]):
        return
    home = "/"
    for line in _read_passwd().split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == str(uid).encode():
            home = names.decode(fields[5]) or "/"
            break
    env[:] = [entry for entry in env if not entry.startswith("HOME=")]
    env.append(f"HOME={home}")


def _read_passwd() -> bytes:
    """The image's /etc/passwd; nothing if it is a fifo, a device or too large for one."""
    try:
        fd = posix.open("/etc/passwd", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return b""  # an image without users
    try:
        info = posix.fstat(fd)
        if not _stat.S_ISREG(info.st_mode) or info.st_size > _PASSWD_LIMIT_BYTES:
            return b""
        return posix.read(fd, _PASSWD_LIMIT_BYTES)
    except OSError:
        return b""
    finally:
        posix.close(fd)


def find_program(name: str, env: list[str]) -> str:
    """The path of ``name``: itself when it has a slash, otherwise searched in PATH.

    Raises:
        CommandNotFoundError: there is none.
        CommandNotExecutableError: there is one and it may not be executed.
    """
    if "/" in name:
        return _check_program(name, name)
    path = _DEFAULT_PATH
    for entry in env:
        if entry.startswith("PATH="):
            path = entry[5:]
    denied = None
    for directory in path.split(":"):
        try:
            if directory.startswith("/") and name:
                return _check_program(f"{directory.rstrip('/')}/{name}", name)
        except CommandNotFoundError:
            continue
        except CommandNotExecutableError as error:
            denied = error
    if denied:
        raise denied
    raise CommandNotFoundError(f'exec: "{name}": executable file not found in $PATH')


def _check_program(path: str, name: str) -> str:
    try:
        info = posix.stat(path)
    except OSError as error:
        raise refused(name, error) from error
    allowed = posix.access(path, posix.X_OK) or posix.access(
        path,
        posix.X_OK,
        effective_ids=True,  # where CAP_DAC_OVERRIDE counts, but few filters know it
    )
    if not _stat.S_ISREG(info.st_mode) or not allowed:
        raise refused(name, PermissionError(errno.EACCES, posix.strerror(errno.EACCES)))
    return path


def refused(name: str, error: OSError) -> PyrunError:
    """The error of a program that cannot be executed, in the words that callers of runc look for.

    podman and others tell 127 from 126 by "executable file not found", "no such file or
    directory" and "permission denied".
    """
    reason = posix.strerror(error.errno or 0)
    message = f'exec: "{name}": {reason[:1].lower()}{reason[1:]}'
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return CommandNotFoundError(message)
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC):
        return CommandNotExecutableError(message)
    return ContainerError(message)
