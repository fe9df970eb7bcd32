"""start, stop, kill, wait, rm: the life of containers that exist."""

from __future__ import annotations

import os

from pyengine.cli.declare import IntRange, UsageError, argument, command, option
from pyengine.cli.many import LATEST, for_each, names_or_latest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine

CONTAINERS = argument("containers", nargs=-1, metavar="CONTAINER...")


@command(
    option("-a", "--attach", is_flag=True, help="Stay connected to its output."),
    option("-i", "--interactive", "stdin", is_flag=True, help="Also connect stdin."),
    option("--sig-proxy/--no-sig-proxy", default=None, help="Pass signals on."),
    LATEST,
    CONTAINERS,
)
def start(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    attach: bool,
    stdin: bool,
    sig_proxy: bool | None,
    latest: bool,
) -> int:
    """Start one or more containers."""
    names = names_or_latest(engine, containers, latest=latest)
    attach = attach or stdin
    if attach and len(names) > 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    if not attach:
        for_each(names, lambda name: _start(engine, name))
        return 0
    from pyengine.monitor.attach import Detached

    started = engine.containers.start(
        names[0], attach=True, stdin=stdin, proxy_signals=sig_proxy is not False
    )
    try:
        return engine.containers.attend(started)
    except Detached:
        return 0


def _start(engine: Engine, name: str) -> str | None:
    if engine.containers.find(name).running:  # podman: an error only with --attach, else silence
        return None
    engine.containers.start(name, attach=False, stdin=False, proxy_signals=False)
    return name


@command(
    option(
        "-t",
        "--time",
        "--timeout",
        "timeout_s",
        type=IntRange(0),
        metavar="SECONDS",
        help="Time to end before it is killed.",
    ),
    option("-a", "--all", "every", is_flag=True, help="Every running container."),
    option("-i", "--ignore", is_flag=True, help="A container that does not exist is no error."),
    LATEST,
    CONTAINERS,
)
def stop(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    timeout_s: int | None,
    every: bool,
    ignore: bool,
    latest: bool,
) -> None:
    """Stop one or more running containers."""
    from pyengine.errors import NotFoundError

    if every:
        names = [found.id for found in engine.containers.every() if found.running]
    else:
        names = names_or_latest(engine, containers, latest=latest)

    def stop_one(name: str) -> str | None:
        try:
            engine.containers.stop(name, timeout_s)
        except NotFoundError:
            if not ignore:
                raise
            return None
        return name

    for_each(names, stop_one)


@command(
    option(
        "-s",
        "--signal",
        "signal_name",
        default="KILL",
        metavar="SIGNAL",
        show_default=True,
        help="Signal to send.",
    ),
    option("-a", "--all", "every", is_flag=True, help="Every running container."),
    LATEST,
    CONTAINERS,
)
def kill(
    engine: Engine, /, containers: tuple[str, ...], signal_name: str, every: bool, latest: bool
) -> None:
    """Send a signal to one or more running containers."""
    from pyengine.containers.signals import number

    signal_number = number(signal_name)
    if every:
        names = [found.id for found in engine.containers.every() if found.running]
    else:
        names = names_or_latest(engine, containers, latest=latest)

    def kill_one(name: str) -> str:
        engine.containers.kill(name, signal_number)
        return name

    for_each(names, kill_one)


@command(
    LATEST,
    CONTAINERS,
)
def wait(engine: Engine, /, containers: tuple[str, ...], latest: bool) -> None:
    """Block until one or more containers have ended, and print their exit codes."""
    for_each(names_or_latest(engine, containers, latest=latest), engine.containers.wait)


@command(
    option("-f", "--force", is_flag=True, help="Also running ones, which are stopped first."),
    option(
        "-t",
        "--time",
        "timeout_s",
        type=IntRange(0),
        metavar="SECONDS",
        help="With --force: time to end before it is killed.",
    ),
    option("-a", "--all", "every", is_flag=True, help="Every container."),
    option("-i", "--ignore", is_flag=True, help="A container that does not exist is no error."),
    option("-v", "--volumes", is_flag=True, help="Remove its anonymous volumes, too."),
    LATEST,
    CONTAINERS,
)
def rm(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    force: bool,
    timeout_s: int | None,
    every: bool,
    ignore: bool,
    volumes: bool,
    latest: bool,
) -> None:
    """Remove one or more containers."""
    from pyengine.errors import NotFoundError

    if every:
        names = [found.id for found in engine.containers.every()]
    else:
        names = names_or_latest(engine, containers, latest=latest)

    def remove_one(name: str) -> str | None:
        try:
            engine.containers.remove(name, force=force, timeout_s=timeout_s, volumes=volumes)
        except NotFoundError:
            if not (ignore or force):  # podman: --force forgives a missing container
                raise
            return None
        return name

    for_each(names, remove_one)


@command(
    option("--life", default="", metavar="NAME", help="Of a container that may start again."),
    argument("container"),
    hidden=True,
)
def cleanup(engine: Engine, /, container: str, life: str) -> None:
    """Clean up after a container that has ended; its monitor calls this."""
    from pyengine.monitor.supervision import RESTART_VARIABLE

    restart = bool(life) and RESTART_VARIABLE in os.environ
    engine.containers.clean_up(container, life=life, restart=restart)
