"""Tells what ended a command, and finds its exit status; loaded when one fails."""

from __future__ import annotations

import sys

from pyrun import particular_errors
from pyrun.commands import usage
from pyrun.commands.help import COMMANDS
from pyrun.errors import KernelError, PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings


def tell(settings: Settings, name: str, error: BaseException) -> int:
    """Write what went wrong; returns the exit status.

    Args:
        settings: say where to.
        name: of the command, as far as there is one.
        error: whatever it raised.
    """
    if isinstance(error, usage.HelpShown):
        try:
            sys.stdout.flush()
        except OSError as failure:
            error = KernelError("write standard output", failure)
        else:
            return 0
    prefix = f"pyrun {name} failed: " if name in COMMANDS else "pyrun: "
    settings.write("error", prefix + _words(settings, error))
    if isinstance(error, KeyboardInterrupt):
        return 130  # as a shell says SIGINT
    # 127 and 126 as a shell has them; 3, and 1 for the rest, as runc
    statuses: dict[type[BaseException], int] = {
        particular_errors.CommandNotFoundError: 127,
        particular_errors.CommandNotExecutableError: 126,
        usage.NoSuchCommandError: 3,
    }
    # exec as runc: 1 could be the program's own status
    return statuses.get(type(error), 255 if name == "exec" else 1)


def _words(settings: Settings, error: BaseException) -> str:
    """One line: callers read no more, and it must be JSON for some."""
    if isinstance(error, PyrunError):
        return str(error)
    if isinstance(error, OSError):
        return str(KernelError(str(error.filename or "system call"), error))
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if settings.level == "debug":
        import traceback

        settings.write("debug", "".join(traceback.format_exception(error)))
    return f"{particular_errors.unexpected(error)} (--debug tells where)"
