from __future__ import annotations

from pyrun.commands.options import FLAG, Syntax
from pyrun.container import lifecycle, store
from pyrun.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax(
    "delete [options] CONTAINER-ID",
    {"--force/-f": (FLAG, "kill it first; none of that name is no error")},
    (1, 1),
)


def main(words: list[str], settings: Settings) -> int:
    """``pyrun delete``."""
    options = SYNTAX.parse(words)
    force = options.flag("force")
    store.check_id(options.arguments[0])
    try:
        entry = store.find(settings.root, options.arguments[0], lock=True)
    except ContainerError:
        if force:
            return 0
        raise
    for warning in lifecycle.delete(entry, force=force):
        settings.write("warning", warning)
    return 0
