"""The command line of pyengine."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Run one command; ``arguments`` is argv without the program's name."""
    print(" ".join(["pyengine", *arguments]))
    return 0
