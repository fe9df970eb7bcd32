"""The kernel's lists of numbers, such as ``0-3,7`` (cpuset(7), "List format")."""

from __future__ import annotations

LIMIT = 1 << 16  # more processors or memory nodes than any kernel is made for


def parse(text: str) -> set[int]:
    """The numbers of a list; blanks around them do not matter.

    Raises:
        ValueError: it is not such a list.
    """
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        words = [low, high] if dash else [low, low]
        if not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
            raise ValueError(f"{text!r} is not a list such as 0-3,7")
        first, last = map(int, words)
        if first > last or last >= LIMIT:
            raise ValueError(f"{text!r}: {part.strip()} is not a range below {LIMIT}")
        found.update(range(first, last + 1))
    return found
