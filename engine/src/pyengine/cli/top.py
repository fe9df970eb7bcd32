"""top and port: the processes of a container, and what it publishes."""

from __future__ import annotations

import click

from pyengine.cli.durations import go_duration
from pyengine.cli.report import table
from pyengine.errors import ConfigError, ConflictError, PyengineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.record import Container
    from pyengine.engine import Engine

TICK_NS = 10_000_000


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-l", "--latest", is_flag=True, help="The container that was created last.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED,
                metavar="[CONTAINER] [DESCRIPTOR|ARG]...")  # fmt: skip
@click.pass_obj
def top(engine: Engine, /, words: tuple[str, ...], latest: bool) -> None:
    """Show the processes of a running container.

    What follows are format descriptors, such as user, pid, args, capeff, seccomp, hpid; or
    options of ps(1), which is called in the container, or on the host where the container has none.
    """
    from pyengine.containers import processes

    if not latest and not words:
        raise click.UsageError("you must provide the name or id of a running container")
    container = engine.containers.latest() if latest else engine.containers.find(words[0])
    words = words if latest else words[1:]
    if not container.running:
        raise ConflictError("top can only be used on running containers")
    descriptors = tuple(one for word in words for one in word.split(",") if one)
    titles = processes.headings(descriptors or processes.DEFAULT)
    if titles is None:
        _print_ps(engine, container, words)
        return
    rows = processes.Table(container).rows(
        descriptors or processes.DEFAULT,
        lambda seconds: go_duration(round(seconds * 100) * TICK_NS),
    )
    for line in table(titles, rows):
        click.echo(line)


def _print_ps(engine: Engine, container: Container, words: tuple[str, ...]) -> None:
    import subprocess

    from pyengine.containers.cgroup_files import Cgroups
    from pyengine.containers.exec import ExecOptions
    from pyengine.containers.processes import filter_ps
    from pyengine.errors import CommandNotFoundError

    try:
        session = engine.observing.exec_session(
            container.id, ExecOptions(("ps", *words), detach_keys=b"")
        )
        status = session.attend()
    except CommandNotFoundError:
        pass
    else:
        if status:
            raise PyengineError(f"ps(1) in the container ended with exit code {status}")
        return
    try:
        done = subprocess.run(["ps", *words], capture_output=True, check=False, encoding="utf-8",
                              errors="replace")  # fmt: skip
    except FileNotFoundError as error:
        raise ConfigError("neither the container nor the host has ps(1)") from error
    if done.returncode:
        raise ConfigError(f"ps {' '.join(words)}: {done.stderr.strip().splitlines()[0]}")
    for line in filter_ps(done.stdout, set(Cgroups(container).pids())):
        click.echo(line)


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="Of all containers.")
@click.option("-l", "--latest", is_flag=True, help="The container that was created last.")
@click.argument("words", nargs=-1, metavar="[CONTAINER] [PORT[/PROTOCOL]]")
@click.pass_obj
def port(engine: Engine, /, words: tuple[str, ...], every: bool, latest: bool) -> None:
    """Show which ports of the host lead to a container's.

    No network of this version publishes ports, so there are none to show.
    """
    if every + latest > 1:
        raise click.UsageError("--all and --latest cannot be used together")
    if not (every or latest) and not words:
        raise click.UsageError("you must supply a running container name or id")
    if len(words) > (1 if every or latest else 2):
        raise click.UsageError(f"too many arguments: {words[-1]}")
    wanted = words[-1] if len(words) == 2 or (words and (every or latest)) else ""
    number, _, protocol = wanted.partition("/")
    if wanted and not (number.isdecimal() and 0 < int(number) < 65536):
        raise ConfigError(f"{wanted}: not a port: give NUMBER or NUMBER/PROTOCOL")
    if protocol not in ("", "tcp", "udp", "sctp"):
        raise ConfigError(f"{wanted}: {protocol} is not tcp, udp or sctp")
    if latest:
        engine.containers.latest()
    elif not every:
        engine.containers.find(words[0])
