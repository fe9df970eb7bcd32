"""The command line of pyrun."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Run one command; ``arguments`` is argv without the program's name."""
    print(" ".join(["pyrun", *arguments]))
    return 0
