from __future__ import annotations

from pyrun.commands.options import FLAG, VALUE, Options, Syntax
from pyrun.container import interpreter, stage
from pyrun.container.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

OPTIONS = {
    "--bundle/-b": (VALUE, "directory with config.json (the current one)"),
    "--config/-f": (VALUE, "another name for config.json"),
    "--console-socket": (VALUE, "socket that gets the terminal"),
    "--pid-file": (VALUE, "file for the process id of init"),
    "--pidfd-socket": (VALUE, "socket that gets a pidfd of init"),
    "--preserve-fds": (VALUE, "how many descriptors from 3 on the container gets"),
    "--no-pivot": (FLAG, "use MS_MOVE and chroot, for a host whose root is a ramfs"),
    "--no-new-keyring": (FLAG, "keep the session keyring of the caller"),
    "--no-subreaper": (FLAG, "adopt no orphans of the container; create never does"),
}
SYNTAX = Syntax("create [options] CONTAINER-ID", OPTIONS, (1, 1))


def request(options: Options, settings: Settings) -> Request:
    """What the options of ``create`` and ``run`` ask for."""
    made = Request(settings.root, options.arguments[0])
    made.bundle = options.text("bundle", ".")
    made.config_name = options.text("config", "config.json")
    made.console_socket = options.text("console-socket")
    made.pid_file = options.text("pid-file")
    made.pidfd_socket = options.text("pidfd-socket")
    made.preserve_fds = options.number("preserve-fds")
    made.no_pivot = options.flag("no-pivot")
    made.no_new_keyring = options.flag("no-new-keyring")
    made.cgroup_driver = settings.cgroup_driver
    made.rootless = settings.rootless
    return made


def main(words: list[str], settings: Settings) -> int:
    """``pyrun create``."""
    options = SYNTAX.parse(words)
    interpreter.protect()
    begun = stage.begin(request(options, settings))
    from pyrun.container import create as creation  # while the stage loads its half

    try:
        creation.create(begun)
    finally:
        report(begun.request, settings)
    return 0


def report(asked: Request, settings: Settings) -> None:
    """Log what creating the container gave to say."""
    for warning in asked.warnings:
        settings.write("warning", warning)
    for note in asked.notes:
        settings.write("debug", note)
