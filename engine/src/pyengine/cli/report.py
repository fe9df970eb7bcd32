"""Tables and progress in podman's layout."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIN_WIDTH = 12
PADDING = 2
_JSON = ("json", "{{json}}", "{{json.}}")


def table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns at least ``MIN_WIDTH`` wide, the last one not padded."""
    lines = [*([header] if header else []), *rows]
    if not lines:
        return []
    widths = [
        max(MIN_WIDTH, max(len(line[column]) for line in lines) + PADDING)
        for column in range(len(lines[0]) - 1)
    ]
    return ["".join([*(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)),
                     line[-1]]) for line in lines]  # fmt: skip


def progress(quiet: bool) -> Callable[[str], None]:
    """Takes lines of progress for standard error, where scripts do not look for results.

    On a terminal blobs have bars; elsewhere there are podman's plain lines.
    """
    if not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from pyengine.cli.bars import Bars

        return Bars()

    def report(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    return report


def is_json(form: str | None) -> bool:
    """Whether the list as JSON is wanted; podman takes ``{{json .}}`` for the same."""
    return "".join((form or "").split()) in _JSON
