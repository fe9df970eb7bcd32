"""Which system call a seccomp profile killed a process for: the kernel's audit log says it.

Without a daemon that takes them, audit records are among the kernel's messages; auditd(8) keeps
them in a file. A kernel without audit, or one that limits its messages, leaves nothing.
"""

from __future__ import annotations

import os
import re

from pyengine import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MESSAGES = "/dev/kmsg"
AUDIT_LOG = "/var/log/audit/audit.log"
LAST_BYTES = 1 << 20  # of the audit log
LONGEST_MESSAGE = 8192
# AUDIT_SECCOMP of a process that got SIGSYS: when, who, and what.
_RECORD = re.compile(
    rb"type=(?:1326|SECCOMP)\b.*?audit\((\d+\.\d+):\d+\):.* pid=(\d+) .*"
    rb" sig=31 arch=([0-9a-f]+) syscall=(\d+) "
)


def refused(pid: int, began_at: float) -> str:
    """The name of the call for which this process was killed; empty where nobody knows.

    Args:
        pid: on the host.
        began_at: when it began; another process had its pid before.
    """
    found = ""
    for line in (*_lines_of_log(), *_messages()):
        found = match(line, pid, began_at) or found
    return found


def match(line: bytes, pid: int, began_at: float) -> str:
    """The call's name, if a line tells of this process."""
    record = _RECORD.search(line)
    if record is None or int(record[2]) != pid or float(record[1]) < began_at - 1:
        return ""
    return _name(int(record[3], 16), int(record[4]))


def _name(architecture: int, number: int) -> str:
    """By libseccomp, whose architectures are audit's."""
    import ctypes

    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        log.debug(f"name system call {number}: {error}")
        return f"number {number}"
    resolve = library.seccomp_syscall_resolve_num_arch
    resolve.argtypes, resolve.restype = (ctypes.c_uint32, ctypes.c_int), ctypes.c_void_p
    place = resolve(architecture, number)
    if not place:
        return f"number {number}"
    try:
        return ctypes.string_at(place).decode()
    finally:
        free = ctypes.CDLL(None).free
        free.argtypes = (ctypes.c_void_p,)
        free(place)


def _lines_of_log() -> Iterable[bytes]:
    try:
        with open(AUDIT_LOG, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - LAST_BYTES, 0))
            return file.readlines()
    except OSError as error:  # no auditd, or not ours to read
        log.debug(f"read {AUDIT_LOG}: {error.strerror}")
        return ()


def _messages() -> Iterator[bytes]:
    """The kernel's messages, one a read(2)."""
    try:
        fd = os.open(MESSAGES, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:  # kernel.dmesg_restrict
        log.debug(f"read {MESSAGES}: {error.strerror}")
        return
    try:
        while True:
            try:
                yield os.read(fd, LONGEST_MESSAGE)
            except BrokenPipeError:  # what came next was overwritten meanwhile
                continue
            except BlockingIOError:
                return
    finally:
        os.close(fd)
