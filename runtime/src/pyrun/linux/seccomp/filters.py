"""``linux.seccomp`` (runtime-spec config-linux.md, "Seccomp").

libseccomp compiles a profile once; the program is kept on disk and the next container with the same
profile loads it by system call, without the compiler and pyseccomp (docs/adr/0004).
"""

from __future__ import annotations

import errno
import posix

from pyrun import names, syscalls
from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = b"pyrun-seccomp-3\n"  # of a cache entry; a change of the compiler's output changes it too
DIGEST_SIZE = 32
MAX_ENTRIES = 256
MAX_PROGRAM_BYTES = 8 * 4096  # the kernel's BPF_MAXINSNS

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": syscalls.SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": syscalls.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": syscalls.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}
LIBRARY = "libseccomp.so.2"

# what an entry has before the program
_LETS_WAIT, _REFUSES_WAIT = b"\1", b"\0"


class Filter:
    """A profile, ready to be loaded.

    Attributes:
        program: classic BPF, as seccomp(2) takes it.
        flags: of seccomp(2); with NEW_LISTENER when the profile has SCMP_ACT_NOTIFY.
        lets_wait: it allows what init calls from ``created`` to execve(2).
        listener_path: the socket that gets the notify descriptor, or an empty string.
        listener_metadata: goes with the descriptor.
        notes: what was left out and why, for the debug log.
    """

    __slots__ = ("flags", "lets_wait", "listener_metadata", "listener_path", "notes", "program")

    def __init__(self, program: bytes, flags: int, path: str, metadata: str) -> None:
        self.program = program
        self.flags = flags
        self.lets_wait = False
        self.listener_path = path
        self.listener_metadata = metadata
        self.notes: list[str] = []


class Compiled(dict[str, "Any"]):
    """A profile whose program came from elsewhere; its members count, its rules do not."""

    def __init__(self, profile: dict[str, Any], program: bytes) -> None:
        super().__init__(profile)
        self.program = program


def cache_directories(root: str) -> list[str]:
    """Where compiled programs may be kept, the best place first.

    Args:
        root: of ``--root``; the directory beside it serves whoever may not write /var/cache.
    """
    return ["/var/cache/pyrun/seccomp", root.rstrip("/") + "-seccomp"]


def prepare(
    profile: dict[str, Any], directories: list[str], pointer: str = "/linux/seccomp"
) -> Filter:
    """Everything that can be done before the container's init exists.

    Args:
        profile: ``linux.seccomp``.
        directories: from ``cache_directories``; empty to compile in any case.
        pointer: the place of the profile.

    Raises:
        ConfigError: an action, operator, architecture or flag is unknown or does not fit.
        KernelError: libseccomp is missing or refused the profile.
    """
    flags = _flags(profile, pointer)
    result = Filter(
        b"", flags, profile.get("listenerPath") or "", profile.get("listenerMetadata") or ""
    )
    if isinstance(profile, Compiled):
        result.program = profile.program
        return result
    key = _key(profile) if directories else ""
    for directory in directories:
        kept = _cached(directory, key)
        if kept:
            result.lets_wait, result.program = kept[:1] == _LETS_WAIT, kept[1:]
            return result
    from pyrun.linux.seccomp import compiler

    result.program = compiler.compile_profile(profile, pointer, result.notes)
    result.lets_wait = compiler.lets_wait(result.program)
    for directory in directories:
        mark = _LETS_WAIT if result.lets_wait else _REFUSES_WAIT
        problem = _keep(directory, key, mark + result.program)
        if not problem:
            break
        result.notes.append(problem)
    return result


def load(program: bytes, flags: int) -> int:
    """Put the calling thread under the filter; it cannot be undone.

    Returns:
        The notify descriptor when ``flags`` has NEW_LISTENER (the caller closes it), else -1.

    Raises:
        KernelError: the kernel refused; without no_new_privs it needs CAP_SYS_ADMIN.
    """
    try:
        result = syscalls.seccomp(syscalls.SECCOMP_SET_MODE_FILTER, flags, bytearray(program))
    except OSError as error:
        raise KernelError("load the seccomp filter", error) from error
    return result if flags & syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER else -1


def _flags(profile: dict[str, Any], pointer: str) -> int:
    words = profile.get("flags")
    # Without the list runc and crun leave speculation alone, which otherwise slows everything.
    bits = syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW if words is None else 0
    for index, name in enumerate(words or []):
        bits |= look_up(FLAGS, name, f"{pointer}/flags/{index}", "flag")
    if not _notifies(profile):
        # It is about who waits for an answer, and the kernel refuses it where nobody asks.
        bits &= ~syscalls.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    else:
        if not profile.get("listenerPath"):
            raise ConfigError(f"{pointer}/listenerPath", "is needed for SCMP_ACT_NOTIFY")
        bits |= syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER
        if bits & syscalls.SECCOMP_FILTER_FLAG_TSYNC:  # else the result could be a thread's id
            bits |= syscalls.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    return bits


def _notifies(profile: dict[str, Any]) -> bool:
    return any(rule.get("action") == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or [])


def look_up(table: dict[str, int], name: str, pointer: str, what: str) -> int:
    """The value of a word of the profile.

    Raises:
        ConfigError: it is not in the table.
    """
    value = table.get(name)
    if value is None:
        raise ConfigError(pointer, f"unknown seccomp {what} {name!r}")
    return value


# --- the cache: one file per profile in a directory that only its owner can read or write


def _sha256(data: bytes) -> Any:
    """To import hashlib costs 2 ms, the module below it nothing (docs/adr/0004)."""
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # private, no stubs
    except ImportError:
        try:
            from _sha2 import sha256  # type: ignore[import-not-found]  # its name since 3.12
        except ImportError:
            from hashlib import sha256
    return sha256(data)


def _key(profile: dict[str, Any]) -> str:
    """The name of the entry: what decides the program, and nothing else."""
    machine = posix.uname().machine
    identity = f"{machine} {_library(machine)} {profile!r}"
    key: str = _sha256(FORMAT + identity.encode("utf-8", "surrogatepass")).hexdigest()
    return key


def library_version() -> str:
    """``2.5.4``; empty without libseccomp."""
    name = _library(posix.uname().machine).partition(" ")[0]
    return name.rpartition(".so.")[2] if name != "unknown" else ""


def _library(machine: str) -> str:
    """Which libseccomp is installed, without loading it: its file's name, size and time."""
    for directory in (f"/usr/lib/{machine}-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"):
        path = f"{directory}/{LIBRARY}"
        try:
            status = posix.stat(path)
            name = names.basename(names.real(path))
        except OSError:
            continue
        return f"{name} {status.st_size} {status.st_mtime_ns}"
    return "unknown"


def _open_directory(directory: str) -> int:
    """A descriptor of a cache directory that nobody else can write.

    Raises:
        OSError: it is missing, is a link, or belongs to or is open to somebody else.
    """
    directory_fd = posix.open(
        directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    )
    status = posix.fstat(directory_fd)
    if status.st_uid != posix.geteuid() or status.st_mode & 0o077:
        posix.close(directory_fd)
        raise PermissionError(errno.EPERM, "not a directory of mode 0700 of this user", directory)
    return directory_fd


def _cached(directory: str, key: str) -> bytes:
    """What ``_keep`` was given; empty when there is no entry or it is not as ``_keep`` left it."""
    try:
        directory_fd = _open_directory(directory)
    except OSError:
        return b""
    try:
        entry_fd = posix.open(
            key, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=directory_fd
        )
    except OSError:
        return b""
    finally:
        posix.close(directory_fd)
    try:
        status = posix.fstat(entry_fd)
        if status.st_uid != posix.geteuid() or status.st_mode & 0o7777 != 0o600:
            return b""
        data = posix.read(entry_fd, len(FORMAT) + DIGEST_SIZE + 1 + MAX_PROGRAM_BYTES + 1)
    except OSError:
        return b""
    finally:
        posix.close(entry_fd)
    head, kept = data[: len(FORMAT) + DIGEST_SIZE], data[len(FORMAT) + DIGEST_SIZE :]
    return kept if kept and head == FORMAT + _sha256(key.encode() + kept).digest() else b""


def _keep(directory: str, key: str, content: bytes) -> str:
    """Write an entry in one rename; returns why it could not, for the container needs no cache."""
    data = FORMAT + _sha256(key.encode() + content).digest() + content
    try:
        names.make_directories(directory, 0o700)
        directory_fd = _open_directory(directory)
    except OSError as error:
        return f"seccomp cache {directory}: {error.strerror}"
    name = f".{key}.{posix.getpid()}"
    try:
        _make_room(directory_fd)
        entry_fd = posix.open(
            name,
            posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC,
            0o600,
            dir_fd=directory_fd,
        )
        try:
            posix.fchmod(entry_fd, 0o600)  # whatever the umask is
            posix.write(entry_fd, data)
        finally:
            posix.close(entry_fd)
        posix.rename(name, key, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except OSError as error:
        _unlink_quietly(name, directory_fd)
        return f"seccomp cache {directory}: {error.strerror}"
    finally:
        posix.close(directory_fd)
    return ""


def _unlink_quietly(name: str, directory_fd: int) -> None:
    """Remove what a failed write left; its own failure must not replace the first one."""
    try:
        posix.unlink(name, dir_fd=directory_fd)
    except OSError:
        return


def _make_room(directory_fd: int) -> None:
    """Keep the directory small: past the limit every entry goes, each is made again when needed."""
    entries = posix.listdir(directory_fd)
    if len(entries) >= MAX_ENTRIES:
        for name in entries:
            posix.unlink(name, dir_fd=directory_fd)
