"""What ends a command before it begins; loaded when it does."""

from __future__ import annotations

from pyrun.errors import PyrunError


class UsageError(PyrunError):
    """The command line has no meaning."""


class NoSuchCommandError(UsageError):
    """pyrun has no such command."""


class HelpShown(PyrunError):  # noqa: N818 - not an error
    """The text of --help is printed, the command is done."""
