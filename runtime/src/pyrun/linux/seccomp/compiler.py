"""Compiles ``linux.seccomp`` with libseccomp; loaded where the cache has no program yet.

The names and values of actions, operators and architectures are here as well.
"""

from __future__ import annotations

import errno
import posix

from pyrun.errors import ConfigError, KernelError
from pyrun.linux.seccomp.filters import MAX_PROGRAM_BYTES, look_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # opcode, instructions to skip if true and if false, value
    Instruction = tuple[int, int, int, int]

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

# Opcodes of classic BPF, offsets in struct seccomp_data (seccomp(2))
_LOAD, _JUMP, _IF_EQUAL, _IF_GREATER, _IF_NOT_LESS, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_TESTS: dict[int, Callable[[int, int], bool]] = {
    _IF_EQUAL: int.__eq__, _IF_GREATER: int.__gt__, _IF_NOT_LESS: int.__ge__,
}  # fmt: skip
_X32_BIT = 0x40000000  # of the numbers of x32, whose AUDIT_ARCH is that of x86_64


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
    value = look_up(ACTIONS, entry[key], f"{pointer}/{key}", "action")
    number = entry.get(errno_key)
    if value in (ERRNO, TRACE):
        return value | (errno.EPERM if number is None else number & 0xFFFF)
    if number is not None:
        raise ConfigError(f"{pointer}/{errno_key}", f"does not fit {entry[key]}")
    return value


def _add_architectures(compiled: Any, profile: dict[str, Any], pointer: str) -> None:
    for index, name in enumerate(profile.get("architectures") or []):
        where = f"{pointer}/architectures/{index}"
        value = look_up(ARCHITECTURES, name, where, "architecture")
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
        operator = look_up(OPERATORS, entry["op"], f"{pointer}/args/{index}/op", "operator")
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


# --- what a program says of init

# Between ``created`` and execve(2), or the end by an error or a signal: talk to the parent and to
# ``start``, handle signals, set tight limits; and what an interpreter calls by itself.
_CALLED = (
    "read", "write", "close", "openat", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "restart_syscall", "prlimit64", "execve", "exit_group", "getpid", "fstat", "newfstatat",
    "lseek", "fcntl", "futex", "brk", "mmap", "mremap", "munmap", "mprotect", "madvise",
)  # fmt: skip


def lets_wait(program: bytes) -> bool:
    """Whether a process under the filter can wait for ``start`` and execute a program.

    Loading the filter takes 0.7 ms, which ``start`` need not wait for then (docs/adr/0011).

    Args:
        program: from ``compile_profile``.
    """
    import pyseccomp

    architecture = pyseccomp.system_arch()
    numbers = (pyseccomp.resolve_syscall(architecture, name) for name in _CALLED)
    allow = ACTIONS["SCMP_ACT_ALLOW"]
    return all(
        _answer(program, architecture, number) == allow
        for number in numbers
        if number >= 0  # negative where the machine has no such call
    )


def _answer(program: bytes, architecture: int, number: int) -> int | None:
    """What the program says of a system call, or None where it looks at the arguments."""
    import struct

    known = {_NUMBER_AT: number, _ARCHITECTURE_AT: architecture}
    at = accumulator = 0
    while True:
        opcode, if_true, if_false, value = struct.unpack_from("=HBBI", program, at)
        at += 8
        if opcode == _LOAD and value in known:
            accumulator = known[value]
        elif opcode == _JUMP:
            at += 8 * value
        elif opcode in _TESTS:
            at += 8 * (if_true if _TESTS[opcode](accumulator, value) else if_false)
        else:
            return value if opcode == _RETURN else None
