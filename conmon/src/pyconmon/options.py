"""conmon's options, read by hand: ``--name value``, ``--name=value``, ``-n value``, ``-nvalue``.

The rules are those of GLib's parser, which conmon uses: arguments that belong to no option are
ignored (podman passes ``--api-version 1``, and the 1 is such an argument), no abbreviations.
"""

from __future__ import annotations

from pyconmon.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    _Entry = tuple[str, str, int, str, str]

FLAG = 0
TEXT = 1
LIST = 2
INT = 3
INT64 = 4
SECONDS = 5

# name, letter, kind, attribute, help
TABLE = (
    ("api-version", "", FLAG, "api_version", "Conmon API version to use"),
    ("bundle", "b", TEXT, "bundle", "Location of the OCI Bundle path"),
    ("cid", "c", TEXT, "cid", "Identification of Container"),
    ("conmon-pidfile", "P", TEXT, "conmon_pidfile", "PID file for the conmon process"),
    ("container-pidfile", "p", TEXT, "container_pidfile",
     "PID file for the initial pid inside of container"),
    ("cuuid", "u", TEXT, "cuuid", "Container UUID"),
    ("exec", "e", FLAG, "exec", "Exec a command into a running container"),
    ("exec-attach", "", FLAG, "exec_attach", "Attach to an exec session"),
    ("exec-process-spec", "", TEXT, "exec_process_spec", "Path to the process spec for execution"),
    ("exit-command", "", TEXT, "exit_command",
     "Path to the program to execute when the container terminates its execution"),
    ("exit-command-arg", "", LIST, "exit_command_args",
     "Additional arg to pass to the exit command.  Can be specified multiple times"),
    ("exit-delay", "", INT, "exit_delay_s",
     "Delay before invoking the exit command (in seconds)"),
    ("exit-dir", "", TEXT, "exit_dir", "Path to the directory where exit files are written"),
    ("full-attach", "", FLAG, "full_attach",
     "Keep the attach socket in the bundle; --socket-dir-path is ignored"),
    ("health-cmd", "", LIST, "health_command",
     "Program and arguments of the health check, one by one (pyconmon's own, as all --health-*)"),
    ("health-event", "", TEXT, "health_event",
     "File with the JSON object that each line in --health-events begins with"),
    ("health-events", "", TEXT, "health_events",
     "File to which each result of a check adds a line, in podman's form of events"),
    ("health-interval", "", SECONDS, "health_interval_s",
     "Seconds between checks; 0: only when asked for (default: 30)"),
    ("health-log", "", TEXT, "health_log",
     "File for state and results (default: health.json in --persist-dir)"),
    ("health-max-log-count", "", INT, "health_max_log_count",
     "Results to keep; 0 keeps all (default: 5)"),
    ("health-max-log-size", "", INT, "health_max_log_size",
     "Characters of output to keep of each; 0 keeps up to 4096 (default: 500)"),
    ("health-on-failure", "", TEXT, "health_on_failure",
     "What to do once unhealthy: none, kill, stop or restart (default: none)"),
    ("health-retries", "", INT, "health_retries",
     "Failures in a row that make a container unhealthy (default: 3)"),
    ("health-start-interval", "", SECONDS, "health_start_interval_s",
     "Seconds between checks during the start period (default: as --health-interval)"),
    ("health-start-period", "", SECONDS, "health_start_period_s",
     "Seconds after the start in which failures do not count (default: 0)"),
    ("health-startup-cmd", "", LIST, "health_startup_command",
     "Program and arguments of a check that has to pass before --health-cmd is run"),
    ("health-startup-interval", "", SECONDS, "health_startup_interval_s",
     "Seconds between startup checks (default: 30)"),
    ("health-startup-retries", "", INT, "health_startup_retries",
     "Failed startup checks that restart the container; 0 never does (default: 0)"),
    ("health-startup-success", "", INT, "health_startup_successes",
     "Successful startup checks in a row that are needed (default: 1)"),
    ("health-startup-timeout", "", SECONDS, "health_startup_timeout_s",
     "Seconds after which a startup check has failed (default: 30)"),
    ("health-timeout", "", SECONDS, "health_timeout_s",
     "Seconds after which a check has failed (default: 30)"),
    ("help", "h", FLAG, "help", "Show help options"),
    ("leave-stdin-open", "", FLAG, "leave_stdin_open",
     "Leave stdin open when attached client disconnects"),
    ("log-allowlist-dir", "", LIST, "log_allowlist_dirs",
     "Allowed log directory. Can be specified multiple times"),
    ("log-global-size-max", "", INT64, "log_global_size_max_bytes",
     "Maximum size of all log files"),
    ("log-label", "", LIST, "log_labels",
     "Additional label to include in logs. Can be specified multiple times"),
    ("log-level", "", TEXT, "log_level", "Print debug logs based on log level"),
    ("log-max-files", "", INT, "log_max_files",
     "Number of backup log files to keep (default: 1)"),
    ("log-path", "l", LIST, "log_paths", "Log file path, as DRIVER:PATH or PATH"),
    ("log-rotate", "", FLAG, "log_rotate",
     "Rotate the log instead of truncating it when log-size-max is reached"),
    ("log-size-max", "", INT64, "log_size_max_bytes", "Maximum size of log file"),
    ("log-tag", "", TEXT, "log_tag", "Additional tag to use for logging"),
    ("name", "n", TEXT, "name", "Container name"),
    ("no-container-partial-message", "", FLAG, "no_partial_message",
     "Do not mark partial lines in journald logs"),
    ("no-new-keyring", "", FLAG, "no_new_keyring",
     "Do not create a new session keyring for the container"),
    ("no-pivot", "", FLAG, "no_pivot", "Do not use pivot_root"),
    ("no-sync-log", "", FLAG, "no_sync_log",
     "Do not manually call sync on logs after container shutdown"),
    ("persist-dir", "0", TEXT, "persist_dir",
     "Persistent directory for a container that can be used for storing container data"),
    ("pidfile", "", TEXT, "container_pidfile", ""),
    ("replace-listen-pid", "", FLAG, "replace_listen_pid",
     "Replace listen pid if set for oci-runtime pid"),
    ("restart-policy", "", TEXT, "restart_policy",
     "no, on-failure[:TIMES], always or unless-stopped: asks the exit command to restart (own)"),
    ("restore", "", TEXT, "restore", "Restore a container from a checkpoint"),
    ("restore-arg", "", LIST, "runtime_opts", ""),
    ("runtime", "r", TEXT, "runtime", "Path to the OCI runtime"),
    ("runtime-arg", "", LIST, "runtime_args",
     "Additional arg to pass to the runtime. Can be specified multiple times"),
    ("runtime-opt", "", LIST, "runtime_opts",
     "Additional opts to pass to the create, restore or exec command of the runtime"),
    ("sdnotify-socket", "", TEXT, "sdnotify_socket",
     "Path to the host's sd-notify socket to relay messages to"),
    ("seccomp-notify-plugins", "", TEXT, "seccomp_notify_plugins",
     "Plugins to use for managing the seccomp notifications: shared libraries, separated by :"),
    ("seccomp-notify-socket", "", TEXT, "seccomp_notify_socket",
     "Path to the socket where the seccomp notification fd is received"),
    ("socket-dir-path", "", TEXT, "socket_dir_path", "Location of container attach sockets"),
    ("stdin", "i", FLAG, "stdin", "Open up a pipe to pass stdin to the container"),
    ("stop-signal", "", INT, "stop_signal",
     "Number of the signal by which --health-on-failure ends the container (default: 15; own)"),
    ("stop-timeout", "", SECONDS, "stop_timeout_s",
     "Seconds after which it is killed instead (default: 10; own)"),
    ("sync", "", FLAG, "sync", "Keep the main conmon process as its child by only forking once"),
    ("syslog", "", FLAG, "syslog", "Log to syslog (use with cgroupfs cgroup manager)"),
    ("systemd-cgroup", "s", FLAG, "systemd_cgroup",
     "Enable systemd cgroup manager, rather then use the cgroupfs directly"),
    ("terminal", "t", FLAG, "terminal", "Allocate a pseudo-TTY. The default is false"),
    ("timeout", "T", INT, "timeout_s", "Kill container after specified timeout in seconds."),
    ("version", "", FLAG, "version", "Print the version and exit"),
)  # fmt: skip

_DEFAULTS = (
    ("health_interval_s", 30.0), ("health_max_log_count", 5), ("health_max_log_size", 500),
    ("health_on_failure", "none"), ("health_retries", 3), ("health_startup_interval_s", 30.0),
    ("health_startup_successes", 1), ("health_startup_timeout_s", 30.0),
    ("health_timeout_s", 30.0), ("log_max_files", 1), ("restart_policy", "no"),
    ("socket_dir_path", "/var/run/crio"), ("stop_signal", 15), ("stop_timeout_s", 10.0),
)  # fmt: skip
_LIMITS = {INT: (1 << 31) - 1, INT64: (1 << 63) - 1}


class Options:
    """One field per option of ``TABLE``; ``None`` where a text was not given."""

    __slots__ = tuple({entry[3]: None for entry in TABLE})

    api_version: bool
    bundle: str | None
    cid: str | None
    conmon_pidfile: str | None
    container_pidfile: str | None
    cuuid: str | None
    exec: bool
    exec_attach: bool
    exec_process_spec: str | None
    exit_command: str | None
    exit_command_args: list[str]
    exit_delay_s: int
    exit_dir: str | None
    full_attach: bool
    health_command: list[str]
    health_event: str | None
    health_events: str | None
    health_interval_s: float
    health_log: str | None
    health_max_log_count: int
    health_max_log_size: int
    health_on_failure: str
    health_retries: int
    health_start_interval_s: float
    health_start_period_s: float
    health_startup_command: list[str]
    health_startup_interval_s: float
    health_startup_retries: int
    health_startup_successes: int
    health_startup_timeout_s: float
    health_timeout_s: float
    help: bool
    leave_stdin_open: bool
    log_allowlist_dirs: list[str]
    log_global_size_max_bytes: int
    log_labels: list[str]
    log_level: str | None
    log_max_files: int
    log_paths: list[str]
    log_rotate: bool
    log_size_max_bytes: int
    log_tag: str | None
    name: str | None
    no_new_keyring: bool
    no_partial_message: bool
    no_pivot: bool
    no_sync_log: bool
    persist_dir: str | None
    replace_listen_pid: bool
    restart_policy: str
    restore: str | None
    runtime: str | None
    runtime_args: list[str]
    runtime_opts: list[str]
    sdnotify_socket: str | None
    seccomp_notify_plugins: str | None
    seccomp_notify_socket: str | None
    socket_dir_path: str
    stdin: bool
    stop_signal: int
    stop_timeout_s: float
    sync: bool
    syslog: bool
    systemd_cgroup: bool
    terminal: bool
    timeout_s: int
    version: bool

    def __init__(self) -> None:
        empty = {FLAG: False, TEXT: None, INT: 0, INT64: -1, SECONDS: 0.0}
        for _, _, kind, attribute, _ in TABLE:
            setattr(self, attribute, [] if kind == LIST else empty[kind])
        for attribute, value in _DEFAULTS:
            setattr(self, attribute, value)


def parse(arguments: list[str]) -> Options:
    """Read argv without the program's name.

    Raises:
        UsageError: an unknown option, a missing or malformed value.
    """
    options = Options()
    names = {"--" + entry[0]: entry for entry in TABLE}
    letters = {entry[1]: entry for entry in TABLE if entry[1]}
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            break
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            entry = names.get(name)
            if entry is None or (equals and entry[2] == FLAG):
                raise _unreadable(f"Unknown option {argument}")
            _set(options, entry, name, value if equals else None, rest)
        elif len(argument) > 1 and argument[0] == "-":
            _read_letters(options, letters, argument, rest)
    return options


def _read_letters(
    options: Options, letters: dict[str, _Entry], argument: str, rest: Iterator[str]
) -> None:
    """``-it``, ``-c ID`` or ``-cID``."""
    for place, letter in enumerate(argument[1:], 2):
        entry = letters.get(letter)
        if entry is None:
            raise _unreadable(f"Unknown option {argument}")
        if entry[2] == FLAG:
            _set(options, entry, "-" + letter, None, rest)
        else:
            _set(options, entry, "-" + letter, argument[place:] or None, rest)
            return


def _set(
    options: Options, entry: _Entry, shown: str, value: str | None, rest: Iterator[str]
) -> None:
    kind, attribute = entry[2], entry[3]
    if kind == FLAG:
        setattr(options, attribute, True)
        return
    if value is None:
        value = next(rest, None)
        if value is None:
            raise _unreadable(f"Missing argument for {shown}")
    if kind == TEXT:
        setattr(options, attribute, value)
    elif kind == LIST:
        getattr(options, attribute).append(value)
    elif kind == SECONDS:
        setattr(options, attribute, _seconds(value, shown))
    else:
        setattr(options, attribute, _integer(value, shown, _LIMITS[kind]))


def _integer(value: str, shown: str, limit: int) -> int:
    try:
        # As strtol with base 0, but Python writes an octal number 0o17 and not 017.
        digits = value.strip().lstrip("+-")
        octal = digits.isdecimal() and digits[0] == "0"
        if "_" in digits:
            raise ValueError
        number = int(value, 8 if octal else 0)
    except ValueError:
        raise _unreadable(f"Cannot parse integer value “{value}” for {shown}") from None
    if not -limit - 1 <= number <= limit:
        raise _unreadable(f"Integer value “{value}” for {shown} out of range")
    return number


def _seconds(value: str, shown: str) -> float:
    whole, _, fraction = value.partition(".")
    if not (whole + fraction).isdecimal() or not value.isascii():
        raise _unreadable(f"Cannot parse seconds “{value}” for {shown}")
    return float(value)


def _unreadable(problem: str) -> UsageError:
    return UsageError(f"option parsing failed: {problem}")


def usage() -> str:
    """The text of ``--help``."""
    lines = ["Usage:", "  conmon [OPTION…] - conmon utility, as pyconmon", "", "Options:"]
    for name, letter, _, _, text in TABLE:
        if text:
            shown = f"-{letter}, --{name}" if letter else f"--{name}"
            lines.append(f"  {shown:<29}{text}")
    return "\n".join(lines) + "\n"
