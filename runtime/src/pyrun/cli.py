"""The command line of pyrun: global options and the commands; ``failures`` prints an error."""

from __future__ import annotations

import posix
import sys

from pyrun.commands.settings import LEVELS, Settings, is_host_root, wrong

# a module of pyrun.commands each
COMMANDS = frozenset((
    "checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "mounts",
    "pause", "ps", "restore", "resume", "run", "spec", "start", "state", "update",
))  # fmt: skip
_VALUES = frozenset((
    "--root", "--log", "--log-format", "--log-level", "--cgroup-manager", "--rootless", "--criu",
))  # fmt: skip
_SWITCHES = frozenset(("--debug", "--systemd-cgroup", "--help", "--version"))
_SAME = {
    "-h": "--help", "-help": "--help", "-?": "--help", "--usage": "--help",
    "-v": "--version", "-V": "--version",
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run one command; ``arguments`` is argv without the program's name."""
    settings = Settings()
    name = ""
    try:
        settings.rootless = not is_host_root()
        rest = _read_globals(arguments, settings)
        if rest[:1] == ["help"]:
            rest = [*rest[1:2], "--help"]
        if not rest or rest[0] == "--help":
            from pyrun.commands import help as overview

            sys.stdout.write(overview.text())
            _flush()
            return 0
        name = rest[0]
        if name == "--version":
            from pyrun.version import FEATURES, VERSION

            sys.stdout.write(f"pyrun version {VERSION}\nspec: 1.3.0\n{FEATURES}\n")
            return 0
        if name not in COMMANDS:
            from pyrun.commands.usage import NoSuchCommandError

            raise NoSuchCommandError(f"there is no command {name!r}: see pyrun --help")
        settings.write(
            "debug", f"{name}: states in {settings.root}, cgroups by {settings.cgroup_driver}"
        )
        module = __import__(f"pyrun.commands.{name}", fromlist=["main"])
        status = int(module.main(rest[1:], settings))
        _flush()
        settings.write("debug", f"{name}: exit status {status}")
        return status
    except MemoryError:  # nor is there any to make a line for the log
        posix.write(2, b"pyrun: there is no memory left\n")
        return 255 if name == "exec" else 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it tells them apart
        from pyrun.commands import failures

        return failures.tell(settings, name, error)


def _flush() -> None:
    """Write what is buffered while an error can still be told.

    Raises:
        KernelError: standard output takes no more.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        from pyrun.errors import KernelError

        raise KernelError("write standard output", error) from error


def _read_globals(arguments: list[str], settings: Settings) -> list[str]:
    """Take the global options; returns the command with its arguments.

    Raises:
        UsageError: an option is unknown or lacks its value.
    """
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = _SAME.get(name, name)
        if name in _VALUES:
            if not equals:
                if not rest:
                    raise wrong(f"option {name} needs a value")
                value = rest.pop(0)
            _set(settings, name, value)
        elif name not in _SWITCHES:
            raise wrong(f"there is no option {name}: see pyrun --help")
        elif name == "--help":
            return []
        elif name == "--version":
            return [name]
        else:
            _switch(settings, name, value if equals else "true")
    if not settings.root:
        settings.root = default_root(settings)
    root = settings.root
    if not root.startswith("/") or "/." in root or "//" in f"{root}/":
        from pyrun import names

        settings.root = names.absolute(root)
    return rest


def _switch(settings: Settings, name: str, value: str) -> None:
    from pyrun.commands.options import is_true

    if name == "--systemd-cgroup":
        settings.cgroup_driver = "systemd" if is_true(value, name) else "cgroupfs"
    elif is_true(value, name):
        settings.level = "debug"


def _set(settings: Settings, name: str, value: str) -> None:
    if name == "--root":
        settings.root = value
    elif name == "--log":
        settings.log = _log_place(value)
    elif name == "--criu":
        settings.criu = value
    elif name == "--log-level":
        if value not in LEVELS:
            raise wrong(f"--log-level is one of {', '.join(LEVELS)}, not {value!r}")
        settings.level = value
    elif name == "--log-format":
        if value not in ("text", "json"):
            raise wrong(f"--log-format is text or json, not {value!r}")
        settings.log_format = value
    elif name == "--cgroup-manager":
        if value not in ("cgroupfs", "systemd", "disabled"):
            raise wrong(f"--cgroup-manager is cgroupfs, systemd or disabled, not {value!r}")
        settings.cgroup_driver = value
    elif value in ("true", "false"):
        settings.rootless = value == "true"
    elif value != "auto":
        raise wrong(f"--rootless is true, false or auto, not {value!r}")


def _log_place(value: str) -> str:
    """``value`` without ``file:``; a path with a colon has a slash before it."""
    kind, colon, rest = value.partition(":")
    if not colon or "/" in kind:
        return value
    if kind == "file":
        return rest
    if kind not in ("journald", "syslog"):
        raise wrong(f"--log is PATH, file:PATH, journald:NAME or syslog:NAME, not {value!r}")
    return value


def default_root(settings: Settings) -> str:
    """Where states are kept when --root says nothing, by runc's rule.

    Root of a user namespace is an ordinary user unless it says otherwise (a system container).
    """
    if settings.rootless:
        from pyrun import names

        runtime_dir = names.environment("XDG_RUNTIME_DIR")
        user = posix.geteuid() != 0 or names.environment("USER") != "root"
        if user and runtime_dir:
            return f"{runtime_dir}/pyrun"
    return "/run/pyrun"
