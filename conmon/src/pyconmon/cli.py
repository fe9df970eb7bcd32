"""The command line of pyconmon."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Run one command; ``arguments`` is argv without the program's name."""
    print(" ".join(["pyconmon", *arguments]))
    return 0
