"""run and create: a new container."""

from __future__ import annotations

import os
import sys

import click

from pyengine import log
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.engine import Engine

    Decorated = Callable[..., Any]

NETWORK_HELP = "Network: none (the default) or host; others come with a later version."

# Shared by run and create, in the order of --help.
_OPTIONS: list[Callable[[Decorated], Decorated]] = [
    click.option("--cap-add", multiple=True, metavar="CAP", help="Add a capability."),
    click.option("--cap-drop", multiple=True, metavar="CAP", help="Drop a capability, or ALL."),
    click.option("--cidfile", default="", metavar="FILE", help="Write the container id to FILE."),
    click.option("--conmon", default="", metavar="PATH", help="Path of the container monitor."),
    click.option("--cpus", type=float, metavar="N", help="Number of CPUs, such as 0.5."),
    click.option("--entrypoint", metavar="COMMAND", help="Instead of the image's entry point."),
    click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable."),
    click.option("--env-file", multiple=True, metavar="FILE", help="Variables from a file."),
    click.option("-h", "--hostname", default="", metavar="NAME", help="The container's host name."),
    click.option("-i", "--interactive", "stdin", is_flag=True, help="Keep stdin open."),
    click.option("-l", "--label", "labels", multiple=True, metavar="NAME[=VALUE]",
                 help="Set a label."),
    click.option("-m", "--memory", metavar="SIZE", help="Memory limit, such as 64m."),
    click.option("--name", default="", metavar="NAME", help="The container's name."),
    click.option("--network", "--net", default="none", metavar="MODE", help=NETWORK_HELP),
    click.option("--pids-limit", type=int, metavar="N", help="Most processes; -1 for no limit."),
    click.option("--privileged", is_flag=True, help="Give all capabilities and devices."),
    click.option(
        "--pull",
        type=click.Choice(["missing", "always", "never"]),
        default="missing",
        show_default=True,
        help="When to pull the image.",
    ),
    click.option("--read-only", is_flag=True, help="Mount the root file system read-only."),
    click.option("--rm", "auto_remove", is_flag=True, help="Remove the container when it ends."),
    click.option("--rootfs", is_flag=True, help="IMAGE is a directory: the root file system."),
    click.option("--runtime", default="", metavar="NAME", help="Path or name of the OCI runtime."),
    click.option(
        "--security-opt",
        multiple=True,
        metavar="OPTION",
        help="seccomp=FILE, seccomp=unconfined or no-new-privileges.",
    ),
    click.option("--stop-signal", default="", metavar="SIGNAL", help="Signal that asks to end."),
    click.option(
        "--stop-timeout", "stop_timeout_s", type=click.IntRange(0), default=10, show_default=True,
        metavar="SECONDS", help="Time to end before it is killed.",
    ),
    click.option("--tmpfs", multiple=True, metavar="DIR[:OPTIONS]", help="Mount a tmpfs."),
    click.option("-t", "--tty", "terminal", is_flag=True, help="Allocate a terminal."),
    click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who the process is."),
    click.option("-v", "--volume", "volumes", multiple=True, metavar="SRC:DST[:OPTIONS]",
                 help="Bind mount a directory, or a named volume."),
    click.option("-w", "--workdir", default="", metavar="DIR", help="Working directory."),
    click.argument("words", nargs=-1, type=click.UNPROCESSED,
                   metavar="IMAGE [COMMAND [ARG]...]"),
]  # fmt: skip

SETTINGS = {"allow_interspersed_args": False, "help_option_names": ["--help"]}


def container_options(function: Decorated) -> Decorated:
    """Add the options and arguments that ``run`` and ``create`` share."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(context_settings=SETTINGS)
@click.option("-d", "--detach", is_flag=True, help="Run in the background, print the id.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on.")
@container_options
@click.pass_obj
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
        click.echo(started.container.id)
        return 0
    from pyengine.monitor.attach import Detached

    try:
        return engine.containers.attend(started)
    except Detached:
        return 0


@click.command(context_settings=SETTINGS)
@container_options
@click.pass_obj
def create(engine: Engine, /, **given: Any) -> None:
    """Create a container without starting it."""
    options = make_options(**given)
    container = engine.containers.create(options, engine.container_source(options, _progress))
    click.echo(container.id)


def _progress(line: str) -> None:
    click.echo(line, err=True)


def make_options(**given: Any) -> ContainerOptions:
    """The options in the form both faces use; only here are our environment and files read."""
    words = given.pop("words")
    if not words:
        raise click.UsageError("requires at least 1 arg(s), only received 0")
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
