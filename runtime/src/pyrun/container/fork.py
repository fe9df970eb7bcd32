"""Forks the process that becomes part of a container, where the kernel allows it in its cgroup."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix
from errno import ENOMEM

from pyrun import syscalls
from pyrun.errors import KernelError
from pyrun.linux import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


# Python ignores or catches these; every program it starts must find them as it was started itself.
_CHANGED_SIGNALS = (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT)

# What ends a process that does not handle them, unless it is the first of a pid namespace.
_ENDING_SIGNALS = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)


def end_on_signals() -> None:
    """Let a container that waits for ``start`` be ended by ``kill``, as runc's is.

    execve(2) gives what is handled its default action again, and leaves alone what is ignored.
    """
    for number in _ENDING_SIGNALS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, _end)


def _end(number: int, _frame: object) -> None:
    posix._exit(128 + number)


def reset_signals() -> None:
    """Give the signals that Python handles their default action, and block none."""
    for number in _CHANGED_SIGNALS:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def fork(cgroup_fd: int, body: Callable[[], None]) -> tuple[int, bool]:
    """Fork a child that runs ``body``, which never returns.

    Being born in a cgroup2 saves the move, for which the kernel makes every fork of the host wait,
    7 to 17 ms (docs/adr/0012).

    Args:
        cgroup_fd: from ``Manager.clone_fd``; closed here. -1 leaves the child in our own cgroup.
        body: the child's part.

    Returns:
        Its id, and whether it is in the cgroup. It is not where the kernel refused, for whichever
        reason: a move is tried then, which works or has a message.

    Raises:
        KernelError: there can be no more processes.
    """
    pid, cloned, refusal = -1, False, None
    if cgroup_fd >= 0:
        try:
            pid = syscalls.clone_into_cgroup(cgroup_fd)
            cloned = True
        except OSError as error:
            refusal = error
    if pid < 0:
        try:
            pid = posix.fork()
        except OSError as error:
            if refusal and error.errno == ENOMEM:  # a new pid namespace ends with its first process
                step = "fork the container process in its cgroup"
                raise KernelError(step, refusal) from error
            raise KernelError("fork the container process", error) from error
    if pid == 0:
        body()
    if cgroup_fd >= 0:
        posix.close(cgroup_fd)
    return pid, cloned


def fork_in_pid_namespace(
    plan: namespaces.Plan, cgroup_fd: int, body: Callable[[], None]
) -> tuple[int, bool]:
    """As ``fork``, with the child in the pid namespace of ``plan``.

    Entering one changes only the children to come, so this process goes back to its own
    afterwards: its hooks belong to the host.
    """
    flag = syscalls.CLONE_NEWPID
    if not plan.has(flag):
        return fork(cgroup_fd, body)
    own_fd = posix.open("/proc/self/ns/pid", posix.O_RDONLY | posix.O_CLOEXEC)
    namespaces.join(plan, flag)
    namespaces.unshare(plan.new & flag)
    made = fork(cgroup_fd, body)
    syscalls.setns(own_fd, flag)
    posix.close(own_fd)
    return made


def end(pids: list[int]) -> None:
    """Kill and reap what was forked."""
    for pid in pids:
        try:
            posix.kill(pid, _signal.SIGKILL)
            posix.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue
