"""The command line of pyrun: global options, the table of commands, the one place for errors."""

from __future__ import annotations

import posix
import sys

from pyrun import names
from pyrun.commands.settings import LEVELS, Settings
from pyrun.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    KernelError,
    NoSuchCommandError,
    PyrunError,
    UsageError,
)

# a module of pyrun.commands each
COMMANDS = {
    "checkpoint": "save a running container with CRIU",
    "create": "create a container from a bundle",
    "delete": "delete a container and what belongs to it",
    "events": "print what a container uses, and when its memory runs out",
    "exec": "run a process in a running container",
    "features": "print what pyrun knows of the specification",
    "kill": "send a signal to a container",
    "list": "list the containers below --root",
    "mounts": "add mounts to a running container, or remove them",
    "pause": "stop all processes of a container",
    "ps": "print the processes of a container",
    "restore": "restore a container from a checkpoint",
    "resume": "let a paused container go on",
    "run": "create and start a container, and wait for it",
    "spec": "write a config.json to begin with",
    "start": "start the program of a created container",
    "state": "print the state of a container",
    "update": "change the limits of a container",
}
_OPTIONS = {
    "--root": "directory of the containers' states",
    "--log": "FILE, journald:NAME or syslog:NAME for messages, beside standard error",
    "--log-format": "text or json",
    "--log-level": "error, warning, info or debug",
    "--cgroup-manager": "cgroupfs, systemd or disabled",
    "--rootless": "true, false or auto: whether to go without privileges",
    "--criu": "the criu to checkpoint and restore with, as older runc had it",
}
_SWITCHES = {
    "--debug": "write more into the log",
    "--systemd-cgroup": "the same as --cgroup-manager systemd",
    "--help": "print this text",
    "--version": "print the version",
}
_SAME = {
    "-h": "--help", "-help": "--help", "-?": "--help", "--usage": "--help",
    "-v": "--version", "-V": "--version",
}  # fmt: skip
# 127 and 126 as a shell has them; 3, and 1 for the rest, as runc
_STATUS: dict[type[PyrunError], int] = {
    CommandNotFoundError: 127,
    CommandNotExecutableError: 126,
    NoSuchCommandError: 3,
}


def main(arguments: list[str]) -> int:
    """Run one command; ``arguments`` is argv without the program's name."""
    settings = Settings()
    name = ""
    try:
        rest = _read_globals(arguments, settings)
        if rest[:1] == ["help"]:
            rest = [*rest[1:2], "--help"]
        if not rest or rest[0] == "--help":
            sys.stdout.write(_help())
            _flush()
            return 0
        name = rest[0]
        if name == "--version":
            from pyrun.version import VERSION

            sys.stdout.write(f"pyrun version {VERSION}\nspec: 1.3.0\n")
            return 0
        if name not in COMMANDS:
            raise NoSuchCommandError(f"there is no command {name!r}: see pyrun --help")
        from pyrun.commands.options import HelpShown

        module = __import__(f"pyrun.commands.{name}", fromlist=["main"])
        try:
            status = int(module.main(rest[1:], settings))
        except HelpShown:
            status = 0
        _flush()
        return status
    except PyrunError as error:
        return _fail(settings, name, error)
    except OSError as error:
        return _fail(settings, name, KernelError(str(error.filename or "system call"), error))
    except KeyboardInterrupt:
        _fail(settings, name, PyrunError("interrupted"))
        return 130  # as a shell says SIGINT
    except Exception as error:  # noqa: BLE001 - callers read one line, and it must be JSON for some
        if settings.level == "debug":
            import traceback

            settings.write("debug", traceback.format_exc())
        problem = f"a fault of pyrun: {error!r} (--debug tells where)"
        return _fail(settings, name, PyrunError(problem))


def _flush() -> None:
    """Write what is buffered while an error can still be told.

    Raises:
        KernelError: standard output takes no more.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        raise KernelError("write standard output", error) from error


def _fail(settings: Settings, name: str, error: PyrunError) -> int:
    message = str(error)
    prefix = f"pyrun {name} failed: " if name in COMMANDS else "pyrun: "
    settings.write("error", f"{prefix}{message}")
    if name == "exec":
        return _STATUS.get(type(error), 255)  # as runc: 1 could be the program's own status
    return _STATUS.get(type(error), 1)


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
        if name in _OPTIONS:
            if not equals:
                if not rest:
                    raise UsageError(f"option {name} needs a value")
                value = rest.pop(0)
            _set(settings, name, value)
        elif name not in _SWITCHES:
            raise UsageError(f"there is no option {name}: see pyrun --help")
        elif name == "--help":
            return []
        elif name == "--version":
            return [name]
        else:
            _switch(settings, name, value if equals else "true")
    if not settings.root:
        settings.root = default_root(settings)
    settings.root = names.absolute(settings.root)
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
        settings.log = value.removeprefix("file:")
    elif name == "--criu":
        settings.criu = value
    elif name == "--log-level":
        if value not in LEVELS:
            raise UsageError(f"--log-level is one of {', '.join(LEVELS)}, not {value!r}")
        settings.level = value
    elif name == "--log-format":
        if value not in ("text", "json"):
            raise UsageError(f"--log-format is text or json, not {value!r}")
        settings.log_format = value
    elif name == "--cgroup-manager":
        if value not in ("cgroupfs", "systemd", "disabled"):
            raise UsageError(f"--cgroup-manager is cgroupfs, systemd or disabled, not {value!r}")
        settings.cgroup_driver = value
    elif value in ("true", "false"):
        settings.rootless = value == "true"
    elif value != "auto":
        raise UsageError(f"--rootless is true, false or auto, not {value!r}")


def default_root(settings: Settings) -> str:
    """Where states are kept when --root says nothing, by runc's rule.

    Root of a user namespace is an ordinary user unless it says otherwise (a system container).
    """
    runtime_dir = names.environment("XDG_RUNTIME_DIR")
    user = posix.geteuid() != 0 or names.environment("USER") != "root"
    if settings.rootless and user and runtime_dir:
        return f"{runtime_dir}/pyrun"
    return "/run/pyrun"


def _help() -> str:
    lines = ["usage: pyrun [global options] COMMAND [options] [arguments]", "", "Commands:"]
    lines += [f"  {name:<18}{text}" for name, text in COMMANDS.items()]
    lines += ["", "Global options:"]
    lines += [f"  {name + ' VALUE':<24}{text}" for name, text in _OPTIONS.items()]
    lines += [f"  {name:<24}{text}" for name, text in _SWITCHES.items()]
    lines += ["", "pyrun COMMAND --help tells the options of a command.", ""]
    return "\n".join(lines)
