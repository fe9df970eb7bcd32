from __future__ import annotations

import sys

from pyrun.commands.options import VALUE, Syntax
from pyrun.commands.usage import UsageError
from pyrun.container import processes, store
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax(
    "ps [options] CONTAINER-ID [OPTIONS OF ps...]",
    {"--format/-f": (VALUE, "table or json")},
    (1, None),
    ordered=True,
)


def main(words: list[str], settings: Settings) -> int:
    """``pyrun ps``: the lines of ps(1) for the container's processes, or their ids."""
    options = SYNTAX.parse(words)
    form = options.text("format", "table")
    if form not in ("table", "json"):
        raise UsageError(f"--format is table or json, not {form!r}")
    name, *rest = options.arguments
    pids = processes.of(store.find(settings.root, name, lock=False))
    if form == "json":
        sys.stdout.write(jsontext.dumps(pids) + "\n")
    else:
        sys.stdout.write(processes.table(pids, rest or ["-ef"]))
    return 0
