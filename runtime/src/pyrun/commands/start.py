from __future__ import annotations

from pyrun.commands.options import Syntax
from pyrun.container import lifecycle, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax("start CONTAINER-ID", {}, (1, 1))


def main(words: list[str], settings: Settings) -> int:
    """``pyrun start``."""
    options = SYNTAX.parse(words)
    lifecycle.start(store.find(settings.root, options.arguments[0], lock=True))
    return 0
