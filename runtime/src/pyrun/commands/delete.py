from __future__ import annotations

from pyrun.commands.options import FLAG, Syntax
from pyrun.container import lifecycle, store
from pyrun.errors import DamagedStateError, NoSuchContainerError

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
    except NoSuchContainerError:
        if force:
            return 0
        raise
    except DamagedStateError as error:
        if not force:
            raise
        settings.write("warning", f"{error}; its processes and its cgroup may be left")
        entry = store.find(settings.root, options.arguments[0], lock=True, damaged=True)
    for warning in lifecycle.delete(entry, force=force):
        settings.write("warning", warning)
    return 0
