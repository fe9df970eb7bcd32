"""wait: until containers have ended, or are in another state."""

from __future__ import annotations

from pyengine.cli.declare import UsageError, command, option
from pyengine.cli.many import CIDFILE, CONTAINERS, LATEST, for_each, select
from pyengine.errors import ConfigError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine

DEFAULT_INTERVAL_S = 0.25
MISSING = -1
CONDITIONS = (
    "configured", "created", "exited", "healthy", "initialized", "paused", "removing", "running",
    "stopped", "stopping", "unhealthy",
)  # fmt: skip


@command(
    CIDFILE,
    option("--condition", "conditions", multiple=True, metavar="STATE",
           help=f"Wait for one of these states: {', '.join(CONDITIONS)}."),
    option(
        "--exit-first-match", "--return-on-first", "first", is_flag=True,
        help="Wait for one of the containers only.",
    ),
    option("--ignore", is_flag=True, help="Print -1 for a container that does not exist."),
    option("-i", "--interval", metavar="DURATION", help="Between looks, such as 250ms or 2s."),
    LATEST,
    CONTAINERS,
)  # fmt: skip
def wait(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    cidfiles: tuple[str, ...],
    conditions: tuple[str, ...],
    first: bool,
    ignore: bool,
    interval: str | None,
    latest: bool,
) -> None:
    """Block until one or more containers have ended, and print their exit codes."""
    wanted = [word for text in conditions for word in text.split(",")]
    for word in wanted:
        if word not in CONDITIONS:
            raise ConfigError(f"unknown container state: {word}: invalid argument")
    interval_s = DEFAULT_INTERVAL_S if interval is None else _seconds(interval)
    if not (containers or cidfiles or latest):
        raise UsageError('"pyengine wait" requires a name, id, or the "--latest" flag')
    names = select(engine, containers, latest=latest, cidfiles=cidfiles, ignore=ignore)

    if first and len(names) > 1:
        print(engine.containers.wait_for_first(names, wanted or ["exited"], interval_s))
        return

    def wait_one(name: str) -> int:
        try:
            return engine.containers.wait(name, wanted, interval_s)
        except NotFoundError:
            if not ignore:
                raise
            return MISSING

    for_each(names, wait_one)


def _seconds(text: str) -> float:
    """A duration, or a plain number of milliseconds."""
    from pyengine.containers.moments import seconds

    try:
        return int(text) / 1000 if text.isdecimal() else seconds(text)
    except ConfigError as error:
        raise ConfigError(f"--interval {text}: {error}") from error
