"""Device rules as an eBPF program on a cgroup2 directory (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE)."""

from __future__ import annotations

import errno
import posix
import struct

from pyrun import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.linux.cgroups.devices import Rules

# struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor
TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}
ALL = 7

# eBPF instructions (kernel: Documentation/bpf/instruction-set.rst)
LOAD_WORD = 0x61
MOVE = 0xB7
MOVE_REGISTER_32 = 0xBC
AND_32 = 0x54
SHIFT_RIGHT_32 = 0x74
JUMP_EQUAL = 0x15
JUMP_NOT_EQUAL = 0x55
EXIT = 0x95

RESULT, CONTEXT, TYPE, REQUEST, MAJOR, MINOR, SCRATCH = range(7)

MAX_PROGRAMS = 64


def _instruction(code: int, target: int, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def program(rules: Rules) -> bytes:
    """The program that returns 1 for what ``rules`` allow; one exception after the other."""
    out = [
        _instruction(LOAD_WORD, TYPE, CONTEXT, 0),
        _instruction(MOVE_REGISTER_32, REQUEST, TYPE),
        _instruction(AND_32, TYPE, value=0xFFFF),
        _instruction(SHIFT_RIGHT_32, REQUEST, value=16),
        _instruction(LOAD_WORD, MAJOR, CONTEXT, 4),
        _instruction(LOAD_WORD, MINOR, CONTEXT, 8),
    ]
    for (kind, major, minor), access in rules.exceptions.items():
        out += _exception(kind, major, minor, access, allow=not rules.allow)
    out += [_instruction(MOVE, RESULT, value=int(rules.allow)), _instruction(EXIT, 0)]
    return b"".join(out)


def _exception(kind: str, major: int, minor: int, access: set[str], *, allow: bool) -> list[bytes]:
    """Return ``allow`` when the request is this device's; else fall through to the next."""
    bits = sum(ACCESS[letter] for letter in access)
    tests = [(JUMP_NOT_EQUAL, TYPE, TYPES[kind])]
    body: list[bytes] = []
    if allow and bits != ALL:  # every requested access is among the allowed ones
        body.append(_instruction(MOVE_REGISTER_32, SCRATCH, REQUEST))
        body.append(_instruction(AND_32, SCRATCH, value=ALL & ~bits))
        tests.append((JUMP_NOT_EQUAL, SCRATCH, 0))
    elif not allow and bits != ALL:  # one requested access is among the denied ones
        body.append(_instruction(MOVE_REGISTER_32, SCRATCH, REQUEST))
        body.append(_instruction(AND_32, SCRATCH, value=bits))
        tests.append((JUMP_EQUAL, SCRATCH, 0))
    if major != -1:
        tests.append((JUMP_NOT_EQUAL, MAJOR, major))
    if minor != -1:
        tests.append((JUMP_NOT_EQUAL, MINOR, minor))
    end = [_instruction(MOVE, RESULT, value=int(allow)), _instruction(EXIT, 0)]
    jumps = [
        _instruction(code, register, 0, len(tests) - index - 1 + len(end), value)
        for index, (code, register, value) in enumerate(tests)
    ]
    return body + jumps + end


def replace(directory: str, code: bytes) -> None:
    """Attach ``code`` to a cgroup in the place of the programs that are there.

    The new one is attached first, so at no time is more allowed than one of the two allows.

    Raises:
        OSError: the kernel refused to load or to attach it.
    """
    cgroup_fd = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        old_ids = _attached(cgroup_fd)
        program_fd = _load(code)
        try:
            _attach(syscalls.BPF_PROG_ATTACH, cgroup_fd, program_fd, syscalls.BPF_F_ALLOW_MULTI)
        finally:
            posix.close(program_fd)
        for program_id in old_ids:
            _detach(cgroup_fd, program_id)
    finally:
        posix.close(cgroup_fd)


def _load(code: bytes) -> int:
    """The kernel copies the name of the licence and the code; both must stay alive meanwhile."""
    instructions, licence = bytearray(code), bytearray(b"Apache-2.0\0")
    attributes = bytearray(
        struct.pack(
            "=IIQQIIQII",
            syscalls.BPF_PROG_TYPE_CGROUP_DEVICE,
            len(code) // 8,
            syscalls.address_of(instructions),
            syscalls.address_of(licence),
            0,  # log_level, log_size, log_buf: the program has no branch that could fail
            0,
            0,
            0,  # kern_version
            0,  # prog_flags
        )
    )
    return syscalls.bpf(syscalls.BPF_PROG_LOAD, attributes)


def _attach(command: int, cgroup_fd: int, program_fd: int, flags: int) -> None:
    attributes = struct.pack("=IIII", cgroup_fd, program_fd, syscalls.BPF_CGROUP_DEVICE, flags)
    syscalls.bpf(command, bytearray(attributes))


def _attached(cgroup_fd: int) -> list[int]:
    """The ids of the device programs of this very cgroup (those above apply as well)."""
    ids = bytearray(4 * MAX_PROGRAMS)
    attributes = bytearray(
        struct.pack(
            "=IIIIQI4x",
            cgroup_fd,
            syscalls.BPF_CGROUP_DEVICE,
            0,
            0,
            syscalls.address_of(ids),
            MAX_PROGRAMS,
        )
    )
    syscalls.bpf(syscalls.BPF_PROG_QUERY, attributes)
    (count,) = struct.unpack_from("=I", attributes, 24)
    return list(struct.unpack_from(f"={count}I", ids))


def _detach(cgroup_fd: int, program_id: int) -> None:
    request = bytearray(struct.pack("=III", program_id, 0, 0))
    try:
        program_fd = syscalls.bpf(syscalls.BPF_PROG_GET_FD_BY_ID, request)
    except FileNotFoundError:  # removed meanwhile
        return
    try:
        _attach(syscalls.BPF_PROG_DETACH, cgroup_fd, program_fd, 0)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    finally:
        posix.close(program_fd)
