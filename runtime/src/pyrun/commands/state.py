from __future__ import annotations

import sys

from pyrun.commands.options import Syntax
from pyrun.container import lifecycle, store
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax("state CONTAINER-ID", {}, (1, 1))


def main(words: list[str], settings: Settings) -> int:
    """``pyrun state``: the specification's members, and those that runc and crun add."""
    options = SYNTAX.parse(words)
    entry = store.find(settings.root, options.arguments[0], lock=False)
    state = lifecycle.state_of(entry, lifecycle.status(entry))
    state["rootfs"] = entry.state["rootfs"]
    state["created"] = entry.state["created"]
    state["owner"] = entry.state["owner"]
    sys.stdout.write(jsontext.dumps(state, 2) + "\n")
    return 0
