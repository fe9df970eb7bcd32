"""The command line: checked options, errors to conmon's lines and exit codes.

It is forgotten before the monitor starts, as each container would pay for it as long as it lives.
"""

from __future__ import annotations

import posix
import sys

from pyconmon import diagnostics, options
from pyconmon.errors import MonitorError, UsageError
from pyconmon.version import VERSION

# podman and CRI-O accept a monitor that calls itself a conmon 2.
CONMON_VERSION = "2.1.12"

_FAILURE = 1


def read(arguments: list[str]) -> tuple[int, options.Options | None]:
    """What to monitor, from argv without the program's name.

    Returns:
        the exit status and ``None`` when there is nothing to monitor.
    """
    try:
        given = options.parse(arguments)
        if given.help:
            sys.stdout.write(options.usage())
            return 0, None
        if given.version:
            sys.stdout.write(f"conmon version {CONMON_VERSION} (pyconmon {VERSION})\n")
            return 0, None
        check_usage(given)
    except UsageError as error:
        sys.stderr.write(f"conmon: {error}\n")
        return _FAILURE, None
    try:
        check(given)
    except MonitorError as error:
        diagnostics.error(str(error))
        return _FAILURE, None
    except OSError as error:  # a working directory that is gone
        diagnostics.error(f"Failed to start the monitor: {error.strerror}")
        return _FAILURE, None
    return 0, given


def check_usage(given: options.Options) -> None:
    """What conmon refuses before it knows whom to monitor.

    Raises:
        UsageError: see above.
    """
    if given.log_max_files < 0:
        raise UsageError(f"log-max-files must be non-negative, got {given.log_max_files}")
    if given.log_rotate and not given.log_max_files:
        raise UsageError("log-max-files must be at least 1 when log-rotate is enabled, got 0")
    if given.cid is None:
        raise UsageError("Container ID not provided. Use --cid")


def check(given: options.Options) -> None:
    """Check the options together, and complete them as conmon does.

    Raises:
        MonitorError: they contradict one another, or one that is needed is missing.
    """
    if (given.log_level or "warning").lower() not in diagnostics.LEVELS:
        raise MonitorError(f"No such log level {given.log_level}")
    diagnostics.configure(given.log_level, given.cid or "", given.log_tag, given.syslog)
    refusals = (
        (given.restore and given.exec, "Cannot use 'exec' and 'restore' at the same time"),
        (given.exec_attach and not given.exec, "Attach can only be specified with exec"),
        (
            given.exec_attach and not given.api_version,
            "Attach can only be specified for a non-legacy exec session",
        ),
        (
            given.cuuid is None and (not given.exec or given.api_version),
            "Container UUID not provided. Use --cuuid",
        ),
        (given.runtime is None, "Runtime path not provided. Use --runtime"),
    )
    for refused, reason in refusals:
        if refused:
            raise MonitorError(reason)
    _check_runtime(given.runtime or "")
    if given.health_command or given.health_startup_command or given.restart_policy != "no":
        check_supervision(given)
    if given.exec and given.exec_process_spec is None:
        raise MonitorError("Exec process spec path not provided. Use --exec-process-spec")
    if given.seccomp_notify_plugins is None:
        plugins = posix.environ.get(b"CONMON_SECCOMP_NOTIFY_PLUGINS", b"").decode(errors="replace")
        given.seccomp_notify_plugins = plugins or None
    if given.seccomp_notify_socket is not None and given.seccomp_notify_plugins is None:
        raise MonitorError("seccomp notify socket specified without any plugin")
    if given.bundle is None and not given.exec:
        given.bundle = posix.getcwd()
    if given.exit_delay_s < 0:
        raise MonitorError("Delay before invoking exit command must be greater than or equal to 0")
    if given.container_pidfile is None:
        given.container_pidfile = f"{posix.getcwd()}/pidfile-{given.cid}"


def check_supervision(given: options.Options) -> None:
    """Health checks and the restart policy, which conmon does not have.

    Raises:
        MonitorError: they make no sense.
    """
    from pyconmon import restart

    try:
        restart.split(given.restart_policy)
    except ValueError:
        raise MonitorError(
            f"No such restart policy {given.restart_policy}: expected no, on-failure[:TIMES],"
            " always or unless-stopped"
        ) from None
    action = given.health_on_failure
    refusals = (
        (given.exec, "An exec session has neither health checks nor a restart policy"),
        (
            given.health_startup_command and not given.health_command,
            "A startup check needs --health-cmd as well",
        ),
        (
            action not in ("none", "kill", "stop", "restart"),
            f"No such health action {action}: expected none, kill, stop or restart",
        ),
        (
            bool(given.health_events) != bool(given.health_event),
            "--health-events and --health-event need one another",
        ),
        (
            not given.health_startup_interval_s,
            "The interval of a startup check must be longer than 0 seconds",
        ),
        (
            not (given.health_timeout_s and given.health_startup_timeout_s),
            "The timeout of a health check must be longer than 0 seconds",
        ),
        (given.health_retries < 1, "--health-retries must be at least 1"),
        (not 0 < given.stop_signal < 65, f"No such signal {given.stop_signal}"),
        (
            given.persist_dir is None,
            "Health checks and restart policies keep their state in --persist-dir: give one",
        ),
        (
            given.exit_command is None and (given.restart_policy != "no" or action == "restart"),
            "A restart is asked for by the exit command. Use --exit-command",
        ),
    )
    for refused, reason in refusals:
        if refused:
            raise MonitorError(reason)


def _check_runtime(path: str) -> None:
    try:
        posix.stat(path)
    except OSError as error:
        raise MonitorError(f"Runtime path {path} is not valid", error) from error
    if not posix.access(path, posix.X_OK):
        raise MonitorError(f"Runtime path {path} is not valid: it is not executable")
