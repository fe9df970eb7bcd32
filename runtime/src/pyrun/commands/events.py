from __future__ import annotations

import sys

from pyrun.commands.options import FLAG, VALUE, Syntax
from pyrun.commands.usage import UsageError
from pyrun.container import statistics, store
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax(
    "events [options] CONTAINER-ID",
    {
        "--interval": (VALUE, "between statistics, such as 500ms or 1m30s (5s)"),
        "--stats": (FLAG, "print statistics once, now"),
    },
    (1, 1),
)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def main(words: list[str], settings: Settings) -> int:
    """``pyrun events``: one JSON object a line."""
    options = SYNTAX.parse(words)
    interval_s = duration(options.text("interval", "5s"))
    entry = store.find(settings.root, options.arguments[0], lock=False)
    statistics.require_alive(entry)
    if options.flag("stats"):
        sys.stdout.write(jsontext.dumps(statistics.stats(entry)) + "\n")
        return 0
    for event in statistics.follow(entry, interval_s):
        sys.stdout.write(jsontext.dumps(event) + "\n")
        sys.stdout.flush()
    return 0


def duration(word: str) -> float:
    """Seconds of ``1m30s``, as Go programs write them.

    Raises:
        UsageError: it is no positive time.
    """
    total_s, rest = 0.0, word
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        digits = number.replace(".", "", 1)
        if unit not in _UNITS or not (digits.isascii() and digits.isdigit()):
            break
        total_s += float(number) * _UNITS[unit]
    if rest or not 0 < total_s < 1e9:
        raise UsageError(f"option --interval needs a time such as 5s, not {word!r}")
    return total_s
