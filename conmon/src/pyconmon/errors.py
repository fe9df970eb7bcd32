"""What can go wrong, as the caller and the log will read it."""

from __future__ import annotations


class MonitorError(Exception):
    """What was being done, to which object, and why it failed."""

    def __init__(self, problem: str, error: OSError | None = None) -> None:
        # conmon's order: the problem, then the cause as strerror says it.
        super().__init__(f"{problem}: {error.strerror}" if error else problem)


class UsageError(MonitorError):
    """The command line cannot be read at all; printed without a log level, as conmon does."""
