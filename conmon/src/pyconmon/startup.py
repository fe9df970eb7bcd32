"""Becoming a monitor: how the process leaves its caller, and where it reports to.

Not loaded again by a monitor that comes back from its resident program.
"""

from __future__ import annotations

import posix

from pyconmon import caller, diagnostics, files, syscalls
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.options import Options


def wait_for_caller(options: Options, inherited: set[int]) -> int:
    """Wait until the caller has put us into the right cgroup.

    Returns:
        the start pipe, on which the runtime of an attached exec waits once more; else -1.

    Raises:
        MonitorError: the pipe is none.
    """
    start_fd = caller.pipe_from_environment("_OCI_STARTPIPE")
    if start_fd < 0:
        return -1
    caller.wait_for_start(start_fd)
    inherited.discard(start_fd)
    if options.exec_attach:
        return start_fd
    posix.close(start_fd)
    return -1


def detach(options: Options) -> bool:
    """Leave the caller; ``False`` in the process that only has to end.

    Raises:
        MonitorError: the pid file cannot be written; then there is no monitor either.
    """
    if options.sync:
        _write_pidfile(options.conmon_pidfile, posix.getpid())
        return True
    ready_fd, go_fd = posix.pipe2(posix.O_CLOEXEC)
    pid = posix.fork()
    if pid == 0:
        posix.close(go_fd)
        go = posix.read(ready_fd, 1)
        posix.close(ready_fd)
        if not go:
            posix._exit(1)
        return True
    posix.close(ready_fd)
    try:
        _write_pidfile(options.conmon_pidfile, pid)
        posix.write(go_fd, b"x")
    except MonitorError:
        posix.close(go_fd)
        posix.waitpid(pid, 0)
        raise
    return False


def _write_pidfile(path: str | None, pid: int) -> None:
    if path:
        try:
            files.replace(path, str(pid), sync=False)
        except OSError as error:
            raise MonitorError(f"Failed to write conmon pidfile {path}", error) from error


def result_pipes(
    options: Options, inherited: set[int]
) -> tuple[caller.ResultPipe, caller.ResultPipe | None]:
    """The sync pipe, and the attach pipe of an attached exec.

    Raises:
        MonitorError: the attach pipe is missing, or a variable names no descriptor.
    """
    sync = _result_pipe("_OCI_SYNCPIPE", options, inherited)
    if not options.exec_attach:
        return sync, None
    attach = _result_pipe("_OCI_ATTACHPIPE", options, inherited)
    if attach.fileno() < 0:
        raise MonitorError("--attach specified but _OCI_ATTACHPIPE was not")
    return sync, attach


def _result_pipe(name: str, options: Options, inherited: set[int]) -> caller.ResultPipe:
    if options.api_version:
        key = "data"
    elif options.exec:
        key = "exit_code"
    else:
        key = "pid"
    fd = caller.pipe_from_environment(name)
    inherited.discard(fd)
    return caller.ResultPipe(fd, key)


def leave_session() -> None:
    """Be found by no signal of the caller's terminal, and inherit the container's orphans."""
    try:
        posix.setsid()
    except PermissionError:  # with --sync: the caller has already made us the leader of a group
        diagnostics.debug("the monitor keeps its session")
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
