"""start, stop, restart, kill, pause, unpause, init, wait: containers that exist."""

from __future__ import annotations

from pyengine.cli.declare import IntRange, UsageError, command, option
from pyengine.cli.many import (
    CIDFILE,
    CONTAINERS,
    DETACH_KEYS,
    FILTER,
    IGNORE,
    LATEST,
    all_option,
    begin_each,
    for_each,
    select,
)
from pyengine.errors import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine

Names = tuple[str, ...]

TIME = option(
    "-t", "--time", "--timeout", "timeout_s", type=IntRange(-1), metavar="SECONDS",
    help="Time to end before it is killed; -1 to wait for ever.",
)  # fmt: skip


@command(
    all_option("containers"),
    option("-a", "--attach", is_flag=True, help="Stay connected to its output."),
    DETACH_KEYS,
    option("-i", "--interactive", "stdin", is_flag=True, help="Also connect stdin."),
    option("--sig-proxy/--no-sig-proxy", default=None, help="Pass signals on."),
    FILTER,
    LATEST,
    CONTAINERS,
)
def start(
    engine: Engine,
    /,
    containers: Names,
    every: bool,
    attach: bool,
    detach_keys: str | None,
    stdin: bool,
    sig_proxy: bool | None,
    filters: Names,
    latest: bool,
) -> int:
    """Start one or more containers."""
    attach = attach or stdin
    if attach and every:
        raise UsageError("you cannot start and attach all containers at once")
    if sig_proxy and not attach:
        raise UsageError("you cannot use sig-proxy without --attach")
    names = select(engine, containers, latest=latest, every=every, filters=filters)
    if attach and len(names) > 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    if not attach:
        for_each(names, lambda name: _start(engine, name))
        return 0
    from pyengine.monitor.attach import Detached

    started = engine.containers.start(
        names[0],
        attach=True,
        stdin=stdin,
        proxy_signals=sig_proxy is not False,
        detach_keys=engine.detach_keys(detach_keys),
    )
    try:
        return engine.containers.attend(started)
    except Detached:
        return 0


def _start(engine: Engine, name: str) -> str | None:
    if engine.containers.find(name).status == "running":  # podman: an error only with --attach
        return None
    engine.containers.start(name)
    return name


@command(
    all_option("running containers", "-a"), CIDFILE, FILTER, IGNORE, LATEST, TIME, CONTAINERS
)  # fmt: skip
def stop(
    engine: Engine,
    /,
    containers: Names,
    every: bool,
    cidfiles: Names,
    filters: Names,
    ignore: bool,
    latest: bool,
    timeout_s: int | None,
) -> None:
    """Stop one or more running containers."""
    names = select(
        engine, containers, latest=latest, every=every, cidfiles=cidfiles, filters=filters,
        ignore=ignore, among=lambda one: one.live or not every,
    )  # fmt: skip

    begin_each(names, lambda name: engine.containers.begin_stop(name, timeout_s), ignore=ignore)


@command(
    all_option("containers, also those that do not run", "-a"),
    CIDFILE,
    FILTER,
    LATEST,
    option("--running", is_flag=True, help="Only those that run."),
    TIME,
    CONTAINERS,
)
def restart(
    engine: Engine,
    /,
    containers: Names,
    every: bool,
    cidfiles: Names,
    filters: Names,
    latest: bool,
    running: bool,
    timeout_s: int | None,
) -> None:
    """Restart one or more containers."""
    if running and not (containers or cidfiles or filters or latest):
        every = True
    names = select(
        engine, containers, latest=latest, every=every, cidfiles=cidfiles, filters=filters
    )

    def restart_one(name: str) -> str | None:
        if running and engine.containers.find(name).status != "running":
            return None
        engine.containers.restart(name, timeout_s)
        return name

    for_each(names, restart_one)


@command(
    all_option("running containers", "-a"),
    CIDFILE,
    LATEST,
    option(
        "-s", "--signal", "signal_name", default="KILL", metavar="SIGNAL", show_default=True,
        help="Signal to send.",
    ),
    CONTAINERS,
)  # fmt: skip
def kill(
    engine: Engine,
    /,
    containers: Names,
    every: bool,
    cidfiles: Names,
    latest: bool,
    signal_name: str,
) -> None:
    """Send a signal to one or more running containers."""
    from pyengine.containers.signals import number

    signal_number = number(signal_name)
    names = select(
        engine, containers, latest=latest, every=every, cidfiles=cidfiles,
        among=lambda one: one.running,
    )  # fmt: skip

    def kill_one(name: str) -> str:
        engine.containers.kill(name, signal_number)
        return name

    for_each(names, kill_one)


@command(all_option("running containers", "-a"), CIDFILE, FILTER, LATEST, CONTAINERS)
def pause(
    engine: Engine, /, containers: Names, every: bool, cidfiles: Names, filters: Names, latest: bool
) -> None:
    """Pause all processes in one or more containers."""
    names = select(
        engine, containers, latest=latest, every=every, cidfiles=cidfiles, filters=filters,
        among=lambda one: one.status == "running",
    )  # fmt: skip
    for_each(names, lambda name: _pause(engine, name, paused=True))


@command(all_option("paused containers", "-a"), CIDFILE, FILTER, LATEST, CONTAINERS)
def unpause(
    engine: Engine, /, containers: Names, every: bool, cidfiles: Names, filters: Names, latest: bool
) -> None:
    """Unpause the processes in one or more containers."""
    names = select(
        engine, containers, latest=latest, every=every, cidfiles=cidfiles, filters=filters,
        among=lambda one: one.status == "paused",
    )  # fmt: skip
    for_each(names, lambda name: _pause(engine, name, paused=False))


def _pause(engine: Engine, name: str, *, paused: bool) -> str:
    engine.containers.pause(name, paused=paused)
    return name


@command(all_option("containers that were never started", "-a"), LATEST, CONTAINERS)
def init(engine: Engine, /, containers: Names, every: bool, latest: bool) -> None:
    """Initialize one or more containers: mount and create them, but do not start their program."""

    def init_one(name: str) -> str:
        try:
            engine.containers.start(name, only_create=True)
        except ConflictError:
            if not every:
                raise
        return name

    names = select(
        engine, containers, latest=latest, every=every,
        among=lambda one: one.status in ("created", "exited"),
    )  # fmt: skip
    for_each(names, init_one)
