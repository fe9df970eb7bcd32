"""Builds the runtime's command line, and becomes the runtime.

Loaded in the child that becomes it, so that the monitor has nothing of it in its memory.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyconmon import caller, oom, syscalls
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.options import Options


def command_line(options: Options, console_socket: str | None) -> list[str]:
    """The runtime's argv in conmon's order: the runtime's options, command, its options, id."""
    argv = [options.runtime or ""]
    if options.systemd_cgroup and not options.exec:
        argv.append("--systemd-cgroup")
    argv += options.runtime_args
    pid_file = options.container_pidfile or ""
    if options.exec:
        argv += ["exec", "--pid-file", pid_file, "--process", options.exec_process_spec or ""]
        argv.append("--detach")
        if options.terminal:
            argv.append("--tty")
    else:
        bundle = options.bundle or ""
        argv.append("restore" if options.restore else "create")
        argv += ["--bundle", bundle, "--pid-file", pid_file]
        if options.no_pivot:
            argv.append("--no-pivot")
        if options.no_new_keyring:
            argv.append("--no-new-keyring")
        if options.restore:
            argv += ["--detach", "--image-path", options.restore, "--work-path", bundle]
    argv += options.runtime_opts
    if console_socket:
        argv += ["--console-socket", console_socket]
    argv.append(options.cid or "")
    return argv


def become(
    options: Options,
    environment: dict[bytes, bytes],
    console_socket: str | None,
    stdio: tuple[int, int, int] | None,
    start_fd: int,
    monitor_pid: int,
) -> None:
    """Execute the runtime in place of this process.

    Args:
        options: what to call and with what.
        environment: the runtime's.
        console_socket: where it sends the terminal to, if there is one.
        stdio: its standard streams; ``None`` keeps the monitor's own (passthrough).
        start_fd: an attached exec waits here for the caller; -1: does not.
        monitor_pid: our parent, without which the runtime must not go on.

    Raises:
        MonitorError: the monitor died, or ``LISTEN_PID`` is no process id.
        OSError: the runtime cannot be executed.
    """
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _signal.SIGKILL)
    if posix.getppid() != monitor_pid:
        raise MonitorError("the monitor died")
    if stdio:
        for target, fd in enumerate(stdio):
            posix.dup2(fd, target, inheritable=True)
            _open_to_all(target)
    listen_pid = environment.get(b"LISTEN_PID")
    if listen_pid is not None:
        if not listen_pid.isdigit() or int(listen_pid) == 0:
            raise MonitorError(f"Invalid LISTEN_PID {listen_pid[:10].decode(errors='replace')}")
        if options.replace_listen_pid or int(listen_pid) == monitor_pid:
            environment[b"LISTEN_PID"] = b"%d" % posix.getpid()
    if start_fd >= 0:
        caller.wait_for_start(start_fd)
    oom.restore_score()
    argv = command_line(options, console_socket)
    posix.execve(argv[0], argv, environment)


def _open_to_all(fd: int) -> None:
    """Let the container's user reopen its own output as /dev/stdout, whoever made the pipe."""
    if posix.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):
        posix.fchmod(fd, 0o777)
