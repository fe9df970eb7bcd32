"""run and create: a new container."""

from __future__ import annotations

import os
import sys

from pyengine import log
from pyengine.cli.declare import Choice, IntRange, UsageError, argument, command, option
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine

NETWORK_HELP = "Network: none (the default) or host; others come with a later version."

# Shared by run and create, in the order of --help.
_PARAMETERS = (
    option("--cap-add", multiple=True, metavar="CAP", help="Add a capability."),
    option("--cap-drop", multiple=True, metavar="CAP", help="Drop a capability, or ALL."),
    option("--cidfile", default="", metavar="FILE", help="Write the container id to FILE."),
    option("--conmon", default="", metavar="PATH", help="Path of the container monitor."),
    option("--cpus", type=float, metavar="N", help="Number of CPUs, such as 0.5."),
    option("--entrypoint", metavar="COMMAND", help="Instead of the image's entry point."),
    option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable."),
    option("--env-file", multiple=True, metavar="FILE", help="Variables from a file."),
    option("-h", "--hostname", default="", metavar="NAME", help="The container's host name."),
    option("-i", "--interactive", "stdin", is_flag=True, help="Keep stdin open."),
    option("-l", "--label", "labels", multiple=True, metavar="NAME[=VALUE]",
                 help="Set a label."),
    option("-m", "--memory", metavar="SIZE", help="Memory limit, such as 64m."),
    option("--name", default="", metavar="NAME", help="The container's name."),
    option("--network", "--net", default="none", metavar="MODE", help=NETWORK_HELP),
    option("--pids-limit", type=int, metavar="N", help="Most processes; -1 for no limit."),
    option("--privileged", is_flag=True, help="Give all capabilities and devices."),
    option(
        "--pull",
        type=Choice(["missing", "always", "never"]),
        default="missing",
        show_default=True,
        help="When to pull the image.",
    ),
    option("--read-only", is_flag=True, help="Mount the root file system read-only."),
    option("--rm", "auto_remove", is_flag=True, help="Remove the container when it ends."),
    option("--rootfs", is_flag=True, help="IMAGE is a directory: the root file system."),
    option("--runtime", default="", metavar="NAME", help="Path or name of the OCI runtime."),
    option(
        "--security-opt",
        multiple=True,
        metavar="OPTION",
        help="seccomp=FILE, seccomp=unconfined or no-new-privileges.",
    ),
    option("--stop-signal", default="", metavar="SIGNAL", help="Signal that asks to end."),
    option(
        "--stop-timeout", "stop_timeout_s", type=IntRange(0), default=10, show_default=True,
        metavar="SECONDS", help="Time to end before it is killed.",
    ),
    option("--tmpfs", multiple=True, metavar="DIR[:OPTIONS]", help="Mount a tmpfs."),
    option("-t", "--tty", "terminal", is_flag=True, help="Allocate a terminal."),
    option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who the process is."),
    option("-v", "--volume", "volumes", multiple=True, metavar="SRC:DST[:OPTIONS]",
                 help="Bind mount a directory, or a named volume."),
    option("-w", "--workdir", default="", metavar="DIR", help="Working directory."),
    argument("words", nargs=-1, metavar="IMAGE [COMMAND [ARG]...]"),
)  # fmt: skip


@command(
    option("-d", "--detach", is_flag=True, help="Run in the background, print the id."),
    option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on."),
    *_PARAMETERS,
    interspersed=False,
)
def run(engine: Engine, /, *, detach: bool, sig_proxy: bool, **given: Any) -> int:
    """Run a command in a new container."""
    options = make_options(detach=detach, **given)
    if options.terminal and not detach and not sys.stdin.isatty() and options.stdin:
        log.warning(
            "The input device is not a TTY. The --tty and --interactive flags might not work"
            " properly"
        )
    source = engine.container_source(options, _progress)
    started = engine.containers.run(options, source, stdin=options.stdin, proxy_signals=sig_proxy)
    if detach:
        print(started.container.id)
        return 0
    from pyengine.monitor.attach import Detached

    try:
        return engine.containers.attend(started)
    except Detached:
        return 0


@command(*_PARAMETERS, interspersed=False)
def create(engine: Engine, /, **given: Any) -> None:
    """Create a container without starting it."""
    options = make_options(**given)
    container = engine.containers.create(options, engine.container_source(options, _progress))
    print(container.id)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def make_options(**given: Any) -> ContainerOptions:
    """The options in the form both faces use; only here are our environment and files read."""
    words = given.pop("words")
    if not words:
        raise UsageError("requires at least 1 arg(s), only received 0")
    env = [*env_files(given.pop("env_file")), *passed_on(given.pop("env"))]
    lists = ("cap_add", "cap_drop")
    for name in lists:  # podman takes comma-separated lists too
        given[name] = tuple(word for text in given[name] for word in text.split(",") if word)
    return ContainerOptions(
        image=words[0],
        command=words[1:],
        env=tuple(env),
        create_command=("pyengine", *sys.argv[1:]),
        **given,
    )


def passed_on(values: tuple[str, ...]) -> list[str]:
    """``--env``: NAME alone passes ours on, if we have it."""
    found = []
    for text in values:
        name, separator, _ = text.partition("=")
        if not name:
            raise ConfigError(f"--env {text}: invalid environment variable: it has no name")
        if separator:
            found.append(text)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
    return found


def env_files(paths: tuple[str, ...]) -> list[str]:
    """The variables of ``--env-file`` files, one a line, # begins a comment."""
    lines: list[str] = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                lines += [line.strip("\r\n").lstrip() for line in file]
        except OSError as error:
            raise ConfigError(f"--env-file: open {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"--env-file {path}: not UTF-8: {error}") from error
    return passed_on(tuple(line for line in lines if line and not line.startswith("#")))
