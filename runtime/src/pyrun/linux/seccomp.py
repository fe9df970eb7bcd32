"""``linux.seccomp`` (runtime-spec config-linux.md, "Seccomp").

libseccomp compiles a profile once; the program is kept on disk and the next container with the same
profile loads it by system call, without importing pyseccomp (docs/adr/0004).
"""

from __future__ import annotations

import errno
import posix

from pyrun import names, syscalls
from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # opcode, instructions to skip if true and if false, value
    Instruction = tuple[int, int, int, int]

FORMAT = b"pyrun-seccomp-2\n"  # of a cache entry; a change of the compiler's output changes it too
DIGEST_SIZE = 32
MAX_ENTRIES = 256
MAX_PROGRAM_BYTES = 8 * 4096  # the kernel's BPF_MAXINSNS

# The value of each action (seccomp_init(3)); the low 16 bits of ERRNO and TRACE take errnoRet.
ERRNO = 0x00050000
TRACE = 0x7FF00000
NOTIFY = 0x7FC00000
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": NOTIFY,
}
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": syscalls.SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": syscalls.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": syscalls.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}
# AUDIT_ARCH_* of linux/audit.h
ARCHITECTURES = {
    "SCMP_ARCH_NATIVE": 0,
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_LOONGARCH64": 0xC0000102,
    "SCMP_ARCH_M68K": 0x00000004,
    "SCMP_ARCH_MIPS": 0x00000008,
    "SCMP_ARCH_MIPS64": 0x80000008,
    "SCMP_ARCH_MIPS64N32": 0xA0000008,
    "SCMP_ARCH_MIPSEL": 0x40000008,
    "SCMP_ARCH_MIPSEL64": 0xC0000008,
    "SCMP_ARCH_MIPSEL64N32": 0xE0000008,
    "SCMP_ARCH_PARISC": 0x0000000F,
    "SCMP_ARCH_PARISC64": 0x8000000F,
    "SCMP_ARCH_PPC": 0x00000014,
    "SCMP_ARCH_PPC64": 0x80000015,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_SH": 0x4000002A,
    "SCMP_ARCH_SHEB": 0x0000002A,
}

# What goes before a profile: opcodes of classic BPF, offsets in struct seccomp_data (seccomp(2))
_LOAD, _JUMP, _IF_EQUAL, _IF_GREATER, _IF_NOT_LESS, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_X32_BIT = 0x40000000  # of the numbers of x32, whose AUDIT_ARCH is that of x86_64

LIBRARY = "libseccomp.so.2"


class Filter:
    """A profile, ready to be loaded.

    Attributes:
        program: classic BPF, as seccomp(2) takes it.
        flags: of seccomp(2); with NEW_LISTENER when the profile has SCMP_ACT_NOTIFY.
        listener_path: the socket that gets the notify descriptor, or an empty string.
        listener_metadata: goes with the descriptor.
        notes: what was left out and why, for the debug log.
    """

    __slots__ = ("flags", "listener_metadata", "listener_path", "notes", "program")

    def __init__(self, program: bytes, flags: int, path: str, metadata: str) -> None:
        self.program = program
        self.flags = flags
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
        program = _cached(directory, key)
        if program:
            result.program = program
            return result
    result.program = compile_profile(profile, pointer, result.notes)
    for directory in directories:
        problem = _keep(directory, key, result.program)
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
        bits |= _look_up(FLAGS, name, f"{pointer}/flags/{index}", "flag")
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


def _look_up(table: dict[str, int], name: str, pointer: str, what: str) -> int:
    value = table.get(name)
    if value is None:
        raise ConfigError(pointer, f"unknown seccomp {what} {name!r}")
    return value


# --- the compiler


def compile_profile(
    profile: dict[str, Any], pointer: str = "/linux/seccomp", notes: list[str] | None = None
) -> bytes:
    """The BPF program of a profile, by libseccomp.

    A name that libseccomp does not know is skipped and noted, as with runc: profiles list calls
    newer than the library, and such a call then gets the default action.

    Raises:
        ConfigError: an action, operator or architecture is unknown or does not fit.
        KernelError: libseccomp is missing or refused the profile.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError, AttributeError) as error:
        step = "compile the seccomp profile"
        raise KernelError(step, f"libseccomp cannot be used: {error}") from error
    default = _action(profile, "defaultAction", "defaultErrnoRet", pointer)
    if default == NOTIFY:
        problem = "SCMP_ACT_NOTIFY cannot be the default: nobody could answer for the answerer"
        raise ConfigError(f"{pointer}/defaultAction", problem)
    try:
        compiled = pyseccomp.SyscallFilter(default)
        try:
            compiled.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)  # a tree instead of a list
        except OSError:  # before libseccomp 2.5
            pass
    except OSError as error:
        raise KernelError("start a seccomp filter", error) from error
    _add_architectures(compiled, profile, pointer)
    seen: set[tuple[object, ...]] = set()
    for index, rule in enumerate(profile.get("syscalls") or []):
        _add_rule(compiled, rule, default, f"{pointer}/syscalls/{index}", notes, seen)
    return _checked(_before(profile, default) + _export(compiled))


def _before(profile: dict[str, Any], default: int) -> bytes:
    """Instructions that answer ENOSYS for calls beyond the last one that the profile names.

    A C library tries a new call first and takes the old one after ENOSYS. A profile that was
    written before the call, and refuses whatever it does not name, would break such programs.
    Where the profile lets such calls through, or to a tracer, it answers for itself.
    """
    lets_through = (TRACE, ACTIONS["SCMP_ACT_LOG"], ACTIONS["SCMP_ACT_ALLOW"])
    if default & 0x7FFF0000 in lets_through or default == ERRNO | errno.ENOSYS:
        return b""
    import struct

    import pyseccomp

    x32, x86_64 = ARCHITECTURES["SCMP_ARCH_X32"], ARCHITECTURES["SCMP_ARCH_X86_64"]
    asked = {ARCHITECTURES[name] for name in profile.get("architectures") or ()}
    every = (asked | {pyseccomp.system_arch()}) - {ARCHITECTURES["SCMP_ARCH_NATIVE"]}
    named = [name for rule in profile.get("syscalls") or () for name in rule["names"]]
    parts: dict[int, list[Instruction]] = {}
    for architecture in sorted(every, key=x32.__eq__):  # x32 after x86_64
        numbers = (pyseccomp.resolve_syscall(architecture, name) for name in named)
        last = max(numbers, default=-1)  # negative where there is no such call
        if last <= 0:
            continue
        part = parts.setdefault(x86_64 if architecture == x32 else architecture, [])
        if architecture == x86_64:
            part.append((_IF_NOT_LESS, 2, 0, _X32_BIT))
        part += [(_IF_GREATER, 0, 1, last), (_RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    code: list[Instruction] = []
    for architecture, part in parts.items():  # the last one comes first
        whole = [(_LOAD, 0, 0, _NUMBER_AT), *part, (_JUMP, 0, 0, len(code))]
        code = [(_IF_EQUAL, 0, len(whole), architecture), *whole, *code]
    if code:
        code.insert(0, (_LOAD, 0, 0, _ARCHITECTURE_AT))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _action(entry: dict[str, Any], key: str, errno_key: str, pointer: str) -> int:
    value = _look_up(ACTIONS, entry[key], f"{pointer}/{key}", "action")
    number = entry.get(errno_key)
    if value in (ERRNO, TRACE):
        return value | (errno.EPERM if number is None else number & 0xFFFF)
    if number is not None:
        raise ConfigError(f"{pointer}/{errno_key}", f"does not fit {entry[key]}")
    return value


def _add_architectures(compiled: Any, profile: dict[str, Any], pointer: str) -> None:
    for index, name in enumerate(profile.get("architectures") or []):
        where = f"{pointer}/architectures/{index}"
        value = _look_up(ARCHITECTURES, name, where, "architecture")
        try:
            compiled.add_arch(value)
        except OSError as error:
            if error.errno == errno.EEXIST:  # the machine's own
                continue
            if error.errno == errno.EDOM:
                problem = f"{name} has another byte order than this machine"
                raise ConfigError(where, problem) from error
            raise ConfigError(where, f"this libseccomp does not know {name}") from error


def _add_rule(
    compiled: Any,
    rule: dict[str, Any],
    default: int,
    pointer: str,
    notes: list[str] | None,
    seen: set[tuple[object, ...]],
) -> None:
    """Add one rule, unless it is in ``seen``: libseccomp compares each with all before it."""
    import pyseccomp

    action = _action(rule, "action", "errnoRet", pointer)
    alternatives = _conditions(rule.get("args") or [], pointer)
    if action == default:  # libseccomp refuses a rule that changes nothing
        return
    for name in rule["names"]:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number == -1:
            if notes is not None:
                notes.append(f"seccomp: libseccomp does not know the system call {name}: skipped")
            continue
        for comparisons, arguments in alternatives:
            if (number, action, *comparisons) in seen:
                continue
            seen.add((number, action, *comparisons))
            if len(seen) > MAX_PROGRAM_BYTES // 8:
                raise _too_long()
            try:
                compiled.add_rule(action, number, *arguments)
            except OSError as error:
                if error.errno == errno.EEXIST:
                    problem = f"an earlier rule has another action for the same use of {name}"
                    raise ConfigError(pointer, problem) from error
                raise KernelError(f"{pointer}: add the seccomp rule of {name}", error) from error


def _conditions(
    entries: list[dict[str, Any]], pointer: str
) -> list[tuple[list[tuple[object, ...]], list[Any]]]:
    """The arguments of the rules to add: all must hold, unless two look at one argument.

    libseccomp takes one comparison per argument; where there are more, runc and crun make each a
    rule of its own, so that one of them is enough, and profiles rely on it.
    """
    import pyseccomp

    plain: list[tuple[object, ...]] = []
    arguments = []
    for index, entry in enumerate(entries):
        operator = _look_up(OPERATORS, entry["op"], f"{pointer}/args/{index}/op", "operator")
        value, second = entry["value"], entry.get("valueTwo") or 0
        if entry["index"] > 5:
            raise ConfigError(f"{pointer}/args/{index}/index", "a system call has arguments 0 to 5")
        plain.append((entry["index"], operator, value, second))
        arguments.append(pyseccomp.Arg(entry["index"], operator, value, second))
    places = [entry["index"] for entry in entries]
    if len(set(places)) < len(places):
        return [([one], [argument]) for one, argument in zip(plain, arguments, strict=True)]
    return [(plain, arguments)]


class _MemoryFile:
    """An anonymous file, for libseccomp's export."""

    def __init__(self) -> None:
        self.fd = posix.memfd_create("seccomp", posix.MFD_CLOEXEC)

    def fileno(self) -> int:
        return self.fd


def _export(compiled: Any) -> bytes:
    file = _MemoryFile()
    try:
        compiled.export_bpf(file)
        program = posix.pread(file.fd, MAX_PROGRAM_BYTES + 8, 0)
    except OSError as error:
        raise KernelError("compile the seccomp profile", error) from error
    finally:
        posix.close(file.fd)
    return program


def _checked(program: bytes) -> bytes:
    if len(program) > MAX_PROGRAM_BYTES:
        raise _too_long()
    return program


def _too_long() -> KernelError:
    problem = "it has more instructions than the kernel takes (4096)"
    return KernelError("compile the seccomp profile", problem)


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
    """The program of an entry; empty when there is none or it is not as ``_keep`` left it."""
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
        data = posix.read(entry_fd, len(FORMAT) + DIGEST_SIZE + MAX_PROGRAM_BYTES + 1)
    except OSError:
        return b""
    finally:
        posix.close(entry_fd)
    head, program = data[: len(FORMAT) + DIGEST_SIZE], data[len(FORMAT) + DIGEST_SIZE :]
    return program if program and head == FORMAT + _sha256(key.encode() + program).digest() else b""


def _keep(directory: str, key: str, program: bytes) -> str:
    """Write an entry in one rename; returns why it could not, for the container needs no cache."""
    data = FORMAT + _sha256(key.encode() + program).digest() + program
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
