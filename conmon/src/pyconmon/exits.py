"""The exit file and the exit command: what is left of a container's end."""

from __future__ import annotations

import errno
import posix
import time

from pyconmon import children, diagnostics, files, oom
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.options import Options
    from pyconmon.restart import Restart

UNKNOWN = -1
_TRIES_ON_FULL_DISK = 30
# Set for an exit command that has to start the container again; the number of this restart.
_RESTART_VARIABLE = b"PYCONMON_RESTART"


def code_of(status: int) -> int:
    """The exit code that a wait status stands for; 128 + signal after a kill."""
    if posix.WIFEXITED(status):
        return posix.WEXITSTATUS(status)
    return 128 + posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else UNKNOWN


def record(options: Options, code: int) -> None:
    """Write the exit code where ``--persist-dir`` and ``--exit-dir`` ask for it.

    Raises:
        MonitorError: a file could not be written; the other was still tried.
    """
    paths = []
    if options.persist_dir:
        paths.append(f"{options.persist_dir}/exit")
    if options.exit_dir:
        paths.append(f"{options.exit_dir}/{options.cid}")
    failure = None
    for path in paths:
        try:
            _write_patiently(path, str(code))
        except OSError as error:
            failure = MonitorError(f"Failed to write {code} to exit file {path}", error)
            diagnostics.error(str(failure))
    if failure:
        raise failure


def _write_patiently(path: str, text: str) -> None:
    """Write a file, and wait a while for room on a full disk: nobody else knows the exit code."""
    for _ in range(_TRIES_ON_FULL_DISK):
        try:
            files.replace(path, text, sync=True)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            diagnostics.warn(f"no room for exit file {path}: trying again")
            time.sleep(1)
        else:
            return
    files.replace(path, text, sync=True)


def record_oom(options: Options) -> None:
    """Create the empty file ``oom``, by which the caller knows of an out-of-memory kill."""
    diagnostics.info("OOM received")
    for directory in (options.persist_dir, options.bundle):
        if directory:
            try:
                flags = posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC
                posix.close(posix.open(f"{directory}/oom", flags, 0o666))
            except OSError as error:
                diagnostics.warn(f"Failed to write {directory}/oom: {error.strerror}")


def start_command(
    options: Options, environment: dict[bytes, bytes], restart: Restart | None
) -> int:
    """Start the exit command (after its delay) and return its pid.

    The monitor gives up being a subreaper first: what the command leaves in the background
    belongs to init.
    """
    _leave_orphans_to_init()
    command = options.exit_command or ""
    environment.pop(_RESTART_VARIABLE, None)  # of a monitor that started this one
    if restart:
        environment[_RESTART_VARIABLE] = b"%d" % restart.count

    def become() -> None:
        posix.closerange(3, 1 << 20)
        if options.exit_delay_s:
            time.sleep(options.exit_delay_s)
        oom.restore_score()
        posix.execve(command, [command, *options.exit_command_args], environment)

    return children.start(f"exit command {command}", become)


def _leave_orphans_to_init() -> None:
    try:
        from pyconmon import syscalls
    except ImportError as error:  # this Python was uninstalled since the monitor was started
        diagnostics.debug(f"the monitor keeps the exit command's orphans: {error}")
        return
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)


def wait_for_command(pid: int) -> int:
    """Reap children until the exit command has ended; its exit code."""
    while True:
        ended, status = posix.waitpid(-1, 0)
        if ended == pid:
            return code_of(status)
