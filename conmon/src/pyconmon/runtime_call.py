"""Builds the runtime's command line, and runs it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix

from pyconmon import caller, diagnostics, files, oom, syscalls
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.options import Options

FORWARDED_SIGNALS = (_signal.SIGTERM, _signal.SIGQUIT, _signal.SIGINT)


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


class Child:
    """What the runtime's process gets beside its command line."""

    __slots__ = ("argv", "environment", "replace_listen_pid", "start_fd", "stdio")

    def __init__(
        self,
        argv: list[str],
        environment: dict[bytes, bytes],
        stdio: tuple[int, int, int] | None,
        start_fd: int,
        replace_listen_pid: bool,
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.stdio = stdio  # None: the monitor's own (passthrough)
        self.start_fd = start_fd  # an attached exec waits here for the caller; -1: does not
        self.replace_listen_pid = replace_listen_pid


def spawn(child: Child) -> int:
    """Start the runtime and return its pid.

    Raises:
        MonitorError: the fork failed.
    """
    parent = posix.getpid()
    # A signal meant for the runtime must not end in the handlers that it inherits from us.
    old_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED_SIGNALS)
    try:
        pid = posix.fork()
    except OSError as error:
        raise MonitorError("Failed to fork the create command", error) from error
    if pid:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, old_mask)
        return pid
    try:
        reset_signals()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, old_mask)
        _become_runtime(child, parent)
    except (OSError, MonitorError) as error:
        # Standard error is the pipe whose text the monitor sends to the caller.
        text = f"{child.argv[0]}: {error.strerror if isinstance(error, OSError) else error}"
        posix.write(2, diagnostics.encode(text + "\n"))
    finally:
        posix._exit(127)


def _become_runtime(child: Child, parent: int) -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _signal.SIGKILL)
    if posix.getppid() != parent:
        raise MonitorError("the monitor died")
    if child.stdio:
        for target, fd in enumerate(child.stdio):
            posix.dup2(fd, target, inheritable=True)
            _open_to_all(target)
    environment = child.environment
    listen_pid = environment.get(b"LISTEN_PID")
    if listen_pid is not None:
        if not listen_pid.isdigit() or int(listen_pid) == 0:
            raise MonitorError(f"Invalid LISTEN_PID {listen_pid[:10].decode(errors='replace')}")
        if child.replace_listen_pid or int(listen_pid) == parent:
            environment[b"LISTEN_PID"] = b"%d" % posix.getpid()
    if child.start_fd >= 0:
        caller.wait_for_start(child.start_fd)
    oom.restore_score()
    posix.execve(child.argv[0], child.argv, environment)


def _open_to_all(fd: int) -> None:
    """Let the container's user reopen its own output as /dev/stdout, whoever made the pipe."""
    if posix.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):
        posix.fchmod(fd, 0o777)


def reset_signals() -> None:
    """Give a child back what Python ignores and what the loop catches."""
    _signal.set_wakeup_fd(-1)
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD, *FORWARDED_SIGNALS):
        _signal.signal(number, _signal.SIG_DFL)


def clean_environment() -> dict[bytes, bytes]:
    """The environment that the caller gave, without what the interpreter added to it.

    In the C locale Python sets LC_CTYPE for itself and its children (PEP 538).
    """
    environment = dict(posix.environ)
    if environment.get(b"LC_CTYPE") == b"C.UTF-8":
        given = files.read_all("/proc/self/environ")
        if b"LC_CTYPE=C.UTF-8" not in given.split(b"\0"):
            del environment[b"LC_CTYPE"]
    return environment
