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
