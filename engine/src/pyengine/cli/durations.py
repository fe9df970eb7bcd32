"""Times as podman's tables write them."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86400
# Below the first number of seconds, the second is the unit and the third its name.
STEPS = (
    (MINUTE, 1, "seconds"),
    (HOUR, MINUTE, "minutes"),
    (48 * HOUR, HOUR, "hours"),
    (14 * DAY, DAY, "days"),
    (60 * DAY, 7 * DAY, "weeks"),
    (730 * DAY, 30 * DAY, "months"),
)


def human(seconds: float) -> str:
    """``2 seconds``, ``About a minute``, ``3 weeks``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if MINUTE <= whole < 2 * MINUTE:
        return "About a minute"
    if HOUR <= whole < 2 * HOUR:
        return "About an hour"
    for limit, unit, name in STEPS:
        if whole < limit:
            return f"{whole // unit} {name}"
    return f"{whole // (365 * DAY)} years"


def rfc3339(when_s: float | None) -> str:
    """UTC with nanoseconds, as Go prints it; Go's zero time for nothing."""
    if when_s is None:
        return "0001-01-01T00:00:00Z"
    import time

    whole, fraction = divmod(when_s, 1)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{int(fraction * 1_000_000) * 1000:09}Z"


def go_duration(count_ns: int) -> str:
    """As Go prints a duration: ``283.057727ms``, ``1m5.5s``, ``0s``."""
    for limit, unit_ns, name in ((1_000, 1, "ns"), (1_000_000, 1_000, "µs"),
                                 (1_000_000_000, 1_000_000, "ms")):  # fmt: skip
        if 0 < count_ns < limit:
            return f"{_decimal(count_ns, unit_ns)}{name}"
    minutes, rest_ns = divmod(count_ns, MINUTE * 1_000_000_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h" if hours else ""
    shown += f"{minutes}m" if hours or minutes else ""
    return f"{shown}{_decimal(rest_ns, 1_000_000_000)}s"


def _decimal(number: int, unit: int) -> str:
    whole, fraction = divmod(number, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)
