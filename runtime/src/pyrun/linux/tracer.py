"""Sees every system call of a process and of all that it starts, by python-ptrace (ptrace(2)).

The processes are seized, not attached: they keep their stops and continuations, and their real
parents get their exit statuses as ever.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import ctypes  # noqa: TID253 - this module is loaded for a container that is traced
import errno
import posix
import struct

from ptrace.binding import func  # noqa: TID253 - as above
from ptrace.error import PtraceError  # noqa: TID253 - as above

from pyrun.errors import KernelError

# sys/ptrace.h; python-ptrace knows the older requests
_SEIZE, _INTERRUPT, _LISTEN, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 0x420E
_OPTIONS = (
    func.PTRACE_O_TRACESYSGOOD | func.PTRACE_O_TRACEFORK | func.PTRACE_O_TRACEVFORK
    | func.PTRACE_O_TRACECLONE | func.PTRACE_O_TRACEEXEC
)  # fmt: skip
_EVENT_EXEC, _EVENT_STOP = 4, 128
_SYSCALL_STOP = _signal.SIGTRAP | 0x80
_GROUP_STOPS = (_signal.SIGSTOP, _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU)
_ENTRY = 1  # PTRACE_SYSCALL_INFO_ENTRY
_INFO = struct.Struct("=B3xIQQQ")  # op, arch, instruction and stack pointer, number
_INFO_BYTES = 88
_WALL = 0x40000000  # waitpid(2): threads as well


def seize(pid: int) -> None:
    """Become the tracer of a process.

    Raises:
        KernelError: the kernel refused, or does not tell of system calls (user-mode Linux).
    """
    info = ctypes.create_string_buffer(_INFO_BYTES)
    try:
        func.ptrace(_SEIZE, pid, 0, _OPTIONS)
        func.ptrace(_INTERRUPT, pid)
        posix.waitpid(pid, _WALL)
        func.ptrace(_GET_SYSCALL_INFO, pid, _INFO_BYTES, ctypes.addressof(info))
        func.ptrace(func.PTRACE_SYSCALL, pid, 0, 0)
    except PtraceError as error:
        problem = OSError(error.errno, posix.strerror(error.errno))
        raise KernelError(f"trace process {pid}", problem) from error


def watch(pid: int, *, program_only: bool) -> set[tuple[int, int]]:
    """Follow the process and its offspring to their ends.

    Args:
        pid: from ``seize``.
        program_only: leaves out what comes before the process executes its program.

    Returns:
        Architecture (as in audit.h) and number of each system call that was made; nothing when no
        program was executed.
    """
    seen: set[tuple[int, int]] = set()
    info = ctypes.create_string_buffer(_INFO_BYTES)
    executed = False
    while True:
        try:
            tid, status = posix.waitpid(-1, _WALL)
        except ChildProcessError:
            return seen if executed else set()
        if not posix.WIFSTOPPED(status):
            continue
        signal, event = posix.WSTOPSIG(status), status >> 16
        request, deliver = func.PTRACE_SYSCALL, 0
        try:
            if signal == _SYSCALL_STOP:
                func.ptrace(_GET_SYSCALL_INFO, tid, _INFO_BYTES, ctypes.addressof(info))
                kind, architecture, _, _, number = _INFO.unpack_from(info)
                if kind == _ENTRY and (executed or not program_only):
                    seen.add((architecture, number))
            elif event == _EVENT_STOP and signal in _GROUP_STOPS:
                request = _LISTEN  # it stays stopped until it is continued
            elif event == _EVENT_EXEC:
                executed = executed or tid == pid
            elif event == 0:
                deliver = signal
            func.ptrace(request, tid, 0, deliver)
        except PtraceError as error:
            if error.errno != errno.ESRCH:  # killed meanwhile: its end is what comes next
                raise
