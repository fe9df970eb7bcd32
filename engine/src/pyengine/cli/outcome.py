"""What a failure prints, and the exit status that it becomes."""

from __future__ import annotations

import os
import sys

from pyengine import errors
from pyengine.cli.declare import UsageError

# podman's exit statuses. A command's own line wins over the class's line; everything else is 125.
EXIT_STATUS: dict[tuple[str, type[errors.PyengineError]], int] = {
    ("", errors.CommandNotFoundError): 127,
    ("", errors.CommandNotExecutableError): 126,
    ("exec_", errors.ConflictError): 255,
    ("rm", errors.NotFoundError): 1,
    ("rm", errors.ConflictError): 2,
    ("skopeo", errors.PyengineError): 1,
    ("rmi", errors.NotFoundError): 1,
    ("rmi", errors.InUseError): 2,
    ("remove_volumes", errors.NotFoundError): 1,
    ("remove_volumes", errors.InUseError): 2,
}
ENGINE_FAILURE = 125
INTERRUPTED = 130
BROKEN_PIPE = 141

EXPECTED = (errors.PyengineError, KeyboardInterrupt, OSError)


def tell(error: BaseException, command: str, path: str) -> int:
    """Print what one of ``EXPECTED`` says; the answer is the exit status.

    Args:
        error: what ended the command.
        command: the name of its function.
        path: its words, such as ``pyengine container rm``.
    """
    if isinstance(error, UsageError):
        return fail(f"{error}\nSee '{path} --help'", ENGINE_FAILURE)
    if isinstance(error, errors.PyengineError):
        return fail(str(error), exit_status(command, error))
    if isinstance(error, KeyboardInterrupt):
        return fail(str(error), 1) if error.args else INTERRUPTED  # a time limit says so
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the last flush complains again
        return BROKEN_PIPE
    assert isinstance(error, OSError)
    return fail(_os_message(error), ENGINE_FAILURE)


def exit_status(command: str, error: errors.PyengineError) -> int:
    """The exit status of ``error`` raised by the command of this name."""
    for name in (command, ""):
        for cls in type(error).__mro__:
            if (name, cls) in EXIT_STATUS:
                return EXIT_STATUS[name, cls]
    return ENGINE_FAILURE


def _os_message(error: OSError) -> str:
    named = isinstance(error.filename, str | bytes)  # else a descriptor, or nothing
    where = f"{os.fsdecode(error.filename)}: " if named else ""
    return f"{where}{error.strerror or error}"


def fail(message: str, status: int, prefix: str = "Error: ") -> int:
    """Print ``message`` after what the command has printed."""
    try:
        sys.stdout.flush()
    except OSError:
        status = status or BROKEN_PIPE
    print(f"{prefix}{message}", file=sys.stderr)
    return status
