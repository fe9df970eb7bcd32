from __future__ import annotations

from pyrun.commands.options import Syntax
from pyrun.container import pausing, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax("pause CONTAINER-ID", {}, (1, 1))


def main(words: list[str], settings: Settings) -> int:
    """``pyrun pause``: stop every process of the container until it is resumed."""
    options = SYNTAX.parse(words)
    pausing.pause(store.find(settings.root, options.arguments[0], lock=True))
    return 0
