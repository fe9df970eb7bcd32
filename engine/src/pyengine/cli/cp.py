"""cp: files between containers and the host."""

from __future__ import annotations

from pyengine.cli.declare import argument, command, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine


@command(
    option(
        "-a", "--archive/--no-archive", default=True,
        help="What goes into a container becomes its user's (the default); false keeps owners.",
    ),
    option("--overwrite", is_flag=True, help="Replace directories by files, and vice versa."),
    argument("words", nargs=-1, metavar="[CONTAINER:]SRC_PATH|- [CONTAINER:]DEST_PATH|-"),
)  # fmt: skip
def cp(engine: Engine, /, words: tuple[str, ...], archive: bool, overwrite: bool) -> None:
    """Copy files or directories between a container and the host, or another container."""
    from pyengine.containers import copying
    from pyengine.errors import ConfigError

    if len(words) != 2:
        raise ConfigError(f"accepts 2 arg(s), received {len(words)}")
    options = copying.Options(archive=archive, overwrite=overwrite)
    copying.copy(engine.containers.host, words[0], words[1], options)
