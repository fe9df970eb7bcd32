"""The points in time that ``--since`` and ``--until`` may name."""

from __future__ import annotations

import datetime
import re
import time

from pyengine.containers import moments
from pyengine.errors import ConfigError

_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?"
    r"(Z|[+-]\d\d:\d\d)?"
)
_SECONDS = re.compile(r"(-?\d{1,11})(?:\.(\d{1,9}))?")
_BILLION = 1_000_000_000


def moment_ns(option: str, text: str, *, after_now: bool = False) -> int:
    """Nanoseconds since 1970.

    Args:
        option: for the message.
        text: a date with or without a time and a zone (ours without), seconds since 1970, or a
            duration in Go's words, counted from now.
        after_now: a duration is one to come rather than one that has passed.

    Raises:
        ConfigError: it is none of these.
    """
    if match := _SECONDS.fullmatch(text):
        return int(match[1]) * _BILLION + _fraction_ns(match[2])
    if match := _DATE.fullmatch(text):
        try:
            return _date_ns(match)
        except (ValueError, OverflowError):
            raise _unusable(option, text) from None
    sign = -1 if text.startswith("-") else 1
    try:
        duration_s = moments.seconds(text.lstrip("+-"))
    except ConfigError:
        raise _unusable(option, text) from None
    duration_ns = sign * int(duration_s * _BILLION)
    return time.time_ns() + (duration_ns if after_now else -duration_ns)


def _date_ns(match: re.Match[str]) -> int:
    year, month, day, hour, minute, second = (int(match[place] or 0) for place in range(1, 7))
    found = datetime.datetime(year, month, day, hour, minute, second)
    zone = match[8]
    if zone == "Z":
        found = found.replace(tzinfo=datetime.UTC)
    elif zone:
        found = datetime.datetime.fromisoformat(f"{found.isoformat()}{zone}")
    return int(found.timestamp()) * _BILLION + _fraction_ns(match[7])


def stamp_ns(text: str) -> int:
    """Nanoseconds of a time stamp with a zone, such as those of events and logs; 0 for none."""
    match = _DATE.fullmatch(text)
    try:
        return _date_ns(match) if match else 0
    except (ValueError, OverflowError):
        return 0


def _fraction_ns(digits: str | None) -> int:
    return int(f"{digits or 0:0<9}")


def _unusable(option: str, text: str) -> ConfigError:
    return ConfigError(f'parsing {option} "{text}": unable to interpret time value')
