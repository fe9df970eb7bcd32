"""Times and durations as users write them: ``until=24h``, ``--since 2024-05-06``."""

from __future__ import annotations

import time

from pyengine.errors import ConfigError

UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A duration in Go's words, such as ``500ms`` or ``1h30m``.

    Raises:
        ConfigError: it is none.
    """
    import re

    part = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)"
    if text == "0" or re.fullmatch(f"({part})+", text):
        return float(sum(float(number) * UNITS_S[unit] for number, unit in re.findall(part, text)))
    raise ConfigError(f"invalid duration {text!r}: such as 500ms, 2s or 1h30m")


def moment(text: str) -> float:
    """Seconds since the epoch: a Unix time, a date, or a duration before now.

    Raises:
        ConfigError: it is none of these.
    """
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    import datetime

    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    try:
        return time.time() - seconds(text)
    except ConfigError as error:
        raise ConfigError(f"{text!r} is no time and no duration") from error
