"""Tables in podman's layout."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_WIDTH = 12
PADDING = 2


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
