"""Writes messages where the global options want them."""

from __future__ import annotations

import posix
import sys
import time

from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings


def write(settings: Settings, level: str, message: str) -> None:
    """Write one line to the log and to standard error."""
    line = _line(settings, level, message)
    if settings.log.startswith(("journald:", "syslog:")):
        from pyrun.commands import system_log

        try:
            system_log.write(settings.log, level, message)
        except OSError as error:
            _say(f"pyrun: write the log {settings.log}: {error.strerror}\n")
        line = f"{message}\n"
    elif settings.log:
        try:
            flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
            fd = posix.open(settings.log, flags, 0o644)
            try:
                posix.write(fd, line.encode(errors="replace"))
            finally:
                posix.close(fd)
        except OSError as error:
            _say(f"pyrun: write the log {settings.log}: {error.strerror}\n")
        line = f"{message}\n"
    if level != "debug" or not settings.log:
        _say(line)


def _say(line: str) -> None:
    """A caller that cannot be told still gets the exit status."""
    try:
        sys.stderr.write(line)
    except OSError:
        return


def _line(settings: Settings, level: str, message: str) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if settings.log_format == "json":
        return jsontext.dumps({"level": level, "msg": message, "time": now}) + "\n"
    return f'time="{now}" level={level} msg={jsontext.dumps(message)}\n'
