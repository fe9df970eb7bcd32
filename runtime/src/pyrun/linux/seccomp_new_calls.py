"""System calls that are newer than a seccomp profile do not exist, instead of being refused.

A C library tries a new call first and takes the old one after ENOSYS. A profile that was written
before the call, and answers EPERM to whatever it does not name, would break such programs. So, as
with runc, calls beyond the last one that a profile names get ENOSYS, before the profile is asked.
"""

from __future__ import annotations

import errno
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_RETURN_ENOSYS = 0x00050000 | errno.ENOSYS
_X86_64, _X32 = 0xC000003E, 0x4000003E
_X32_BIT = 0x40000000  # of the numbers of x32, whose AUDIT_ARCH is that of x86_64

# opcodes of classic BPF, and offsets in struct seccomp_data (seccomp(2))
_LOAD, _JUMP, _IF_EQUAL, _IF_GREATER, _IF_NOT_LESS, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4

# opcode, instructions to skip if true and if false, value
_Instruction = tuple[int, int, int, int]


def program(
    architectures: Iterable[int], names: list[str], resolve: Callable[[int, str], int]
) -> bytes:
    """Instructions to go before those of the profile.

    Args:
        architectures: of the filter, by libseccomp's numbers.
        names: of every system call in the profile.
        resolve: the number of a call on an architecture, negative where there is none.
    """
    parts: dict[int, list[_Instruction]] = {}
    for architecture in sorted(architectures, key=_X32.__eq__):  # x32 after x86_64
        last = max((resolve(architecture, name) for name in names), default=-1)
        if last <= 0:
            continue
        part = parts.setdefault(_X86_64 if architecture == _X32 else architecture, [])
        if architecture == _X86_64:
            part.append((_IF_NOT_LESS, 2, 0, _X32_BIT))
        part += [(_IF_GREATER, 0, 1, last), (_RETURN, 0, 0, _RETURN_ENOSYS)]
    code: list[_Instruction] = []
    for architecture, part in parts.items():  # the last one comes first
        whole = [(_LOAD, 0, 0, _NUMBER_AT), *part, (_JUMP, 0, 0, len(code))]
        code = [(_IF_EQUAL, 0, len(whole), architecture), *whole, *code]
    if code:
        code.insert(0, (_LOAD, 0, 0, _ARCHITECTURE_AT))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
