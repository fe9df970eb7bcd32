"""healthcheck run, system boot: what keeps containers running well."""

from __future__ import annotations

from pyengine.cli.declare import argument, command, option
from pyengine.cli.many import for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine

UNHEALTHY = 1


@command(
    option("--ignore-result", is_flag=True, help="Exit with status 0 when the check fails, too."),
    argument("container"),
)
def check(engine: Engine, /, container: str, ignore_result: bool) -> int:
    """Run the health check of a container now."""
    state = engine.containers.check_health(container)
    if ignore_result or (state["Log"] and state["Log"][-1]["ExitCode"] == 0):
        return 0
    print(state["Status"])
    return UNHEALTHY


@command()
def boot(engine: Engine, /) -> None:
    """Start the containers that run after each boot, and print their names.

    Any init may call this, and call it again: what runs, or was stopped meanwhile, stays as it is.
    """

    def start(name: str) -> str:
        engine.containers.start(name, attach=False, stdin=False, proxy_signals=False)
        return name

    for_each([found.name for found in engine.containers.starting_at_boot()], start)
