"""The text of ``pyrun --help``."""

from __future__ import annotations

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


def text() -> str:
    """The commands and the global options."""
    lines = ["usage: pyrun [global options] COMMAND [options] [arguments]", "", "Commands:"]
    lines += [f"  {name:<18}{text}" for name, text in COMMANDS.items()]
    lines += ["", "Global options:"]
    lines += [f"  {name + ' VALUE':<24}{text}" for name, text in _OPTIONS.items()]
    lines += [f"  {name:<24}{text}" for name, text in _SWITCHES.items()]
    lines += ["", "pyrun COMMAND --help tells the options of a command.", ""]
    return "\n".join(lines)
