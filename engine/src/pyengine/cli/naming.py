"""exists, rename: names of containers."""

from __future__ import annotations

from pyengine.cli.declare import UsageError, argument, command, option
from pyengine.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine

MISSING = 1


@command(
    option("--external", is_flag=True, help="Also containers of other programs in the storage."),
    argument("container", metavar="CONTAINER"),
)
def exists(engine: Engine, /, container: str, external: bool) -> int:  # noqa: ARG001 - no other program writes into this storage
    """Exit with 0 if CONTAINER exists and with 1 if it does not."""
    try:
        engine.containers.find(container)
    except NotFoundError:
        return MISSING
    return 0


@command(argument("words", nargs=-1, metavar="CONTAINER NAME"))
def rename(engine: Engine, /, words: tuple[str, ...]) -> None:
    """Give an existing container another name."""
    if len(words) != 2:
        raise UsageError(f"accepts 2 arg(s), received {len(words)}")
    engine.containers.rename(*words)
