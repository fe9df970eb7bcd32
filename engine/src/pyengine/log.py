"""Warnings and debug lines on standard error, in podman's form; the logging module costs 14 ms."""

import sys
import time

LEVELS = {"trace": 0, "debug": 1, "info": 2, "warn": 3, "warning": 3, "error": 4, "fatal": 5}

_threshold = LEVELS["warn"]
_started_s = time.monotonic()


def set_level(name: str) -> None:
    """Print messages of this level and above; ``name`` is a key of ``LEVELS``."""
    global _threshold
    _threshold = LEVELS[name]


def debug(message: str) -> None:
    """Something a developer may want to know."""
    _write("debug", message)


def warning(message: str) -> None:
    """Something the user should know that did not stop the command, such as a failed clean-up."""
    _write("warn", message)


def _write(level: str, message: str) -> None:
    if LEVELS[level] >= _threshold:
        seconds = int(time.monotonic() - _started_s)
        print(f"{level.upper()[:4]}[{seconds:04}] {message}", file=sys.stderr)
