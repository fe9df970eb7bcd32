from __future__ import annotations

import sys

from pyrun.container import status, store
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings


def main(words: list[str], settings: Settings) -> int:
    """``pyrun state``: the specification's members, and those that runc and crun add."""
    if len(words) != 1 or words[0].startswith("-"):  # not simply an id
        from pyrun.commands.options import Syntax

        words = Syntax("state CONTAINER-ID", {}, (1, 1)).parse(words).arguments
    entry = store.find(settings.root, words[0], lock=False)
    state = status.state_of(entry, status.of(entry))
    state["rootfs"] = entry.state["rootfs"]
    state["created"] = entry.state["created"]
    state["owner"] = entry.state["owner"]
    sys.stdout.write(jsontext.dumps(state, 2) + "\n")
    return 0
