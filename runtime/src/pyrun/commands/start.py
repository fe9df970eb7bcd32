from __future__ import annotations

import posix

from pyrun.container import starting, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings


def main(words: list[str], settings: Settings) -> int:
    """``pyrun start``."""
    if len(words) != 1 or words[0].startswith("-"):  # not simply an id
        from pyrun.commands.options import Syntax

        words = Syntax("start CONTAINER-ID", {}, (1, 1)).parse(words).arguments
    warnings: list[str] = []
    try:
        entry = store.find(settings.root, words[0], lock=True)
        if posix.environ.get(b"NOTIFY_SOCKET"):
            from pyrun.container import notify

            notify.start(entry, warnings)
        else:
            starting.start(entry, warnings)
    finally:
        for warning in warnings:
            settings.write("warning", warning)
    return 0
