"""``linux.resources.devices``: what a list of rules allows in the end (config-linux.md).

v1 files and the cgroup2 filter are both made from one result, so they cannot differ.
"""

from __future__ import annotations

from pyrun.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # type (b, c), major, minor; -1 is any
    Key = tuple[str, int, int]

# Every container may use these (config-linux.md, "Default Devices"), make any node, and use the
# pseudo terminals and tun, as with runc and crun.
DEFAULTS: list[tuple[str, int, int, str]] = [
    ("c", -1, -1, "m"),
    ("b", -1, -1, "m"),
    ("c", 1, 3, "rwm"),  # null
    ("c", 1, 5, "rwm"),  # zero
    ("c", 1, 7, "rwm"),  # full
    ("c", 1, 8, "rwm"),  # random
    ("c", 1, 9, "rwm"),  # urandom
    ("c", 5, 0, "rwm"),  # tty
    ("c", 5, 1, "rwm"),  # console
    ("c", 5, 2, "rwm"),  # ptmx
    ("c", 136, -1, "rwm"),  # pts
    ("c", 10, 200, "rwm"),  # tun
]


class Rules:
    """What is allowed: everything but ``exceptions``, or nothing but ``exceptions``."""

    __slots__ = ("allow", "exceptions")

    def __init__(self) -> None:
        self.allow = False
        self.exceptions: dict[Key, set[str]] = {}

    def reset(self, *, allow: bool) -> None:
        """Everything, or nothing."""
        self.allow = allow
        self.exceptions = {}

    def add(self, key: Key, access: str, *, allow: bool) -> bool:
        """One rule; False when a wider exception stands against it."""
        if allow != self.allow:
            self.exceptions.setdefault(key, set()).update(access)
            return True
        kept = self.exceptions.get(key)
        if kept is not None:
            kept -= set(access)
            if not kept:
                del self.exceptions[key]
        return not any(
            other != key and _covers(other, key) and held & set(access)
            for other, held in self.exceptions.items()
        )


def _covers(wide: Key, narrow: Key) -> bool:
    same = wide[0] == narrow[0]
    return same and wide[1] in (-1, narrow[1]) and wide[2] in (-1, narrow[2])


def evaluate(rules: list[dict[str, Any]], pointer: str) -> Rules:
    """What the rules allow, in order, starting from nothing and ending with the defaults.

    Raises:
        ConfigError: a rule takes a part out of a wider one before it, which the kernel cannot do.
    """
    result = Rules()
    for index, rule in enumerate(rules):
        allow = bool(rule["allow"])
        access = rule.get("access") or "rwm"
        major, minor = _number(rule.get("major")), _number(rule.get("minor"))
        kind = rule.get("type") or "a"
        if kind == "a" and major == minor == -1 and set(access) == set("rwm"):
            result.reset(allow=allow)
            continue
        for one in "bc" if kind == "a" else kind.replace("u", "c"):
            if not result.add((one, major, minor), access, allow=allow):
                words = "allows again a part of what" if allow else "denies a part of what"
                problem = f"{words} a wider rule before it covers, which the kernel cannot do"
                raise ConfigError(f"{pointer}/{index}", problem)
    for kind, major, minor, access in DEFAULTS:
        # Under "allow all but" a default was either never denied or denied on purpose.
        if not result.allow:
            result.add((kind, major, minor), access, allow=True)
    return result


def _number(value: int | None) -> int:
    return -1 if value is None else value


def v1_lines(rules: Rules, *, allows_all: bool) -> list[tuple[str, str]]:
    """File and line of each write to the v1 controller.

    Args:
        rules: from ``evaluate``.
        allows_all: the cgroup has ``a *:* rwm`` now. Writing that once more is refused below a
            cgroup that is itself restricted.
    """
    lines = []
    if rules.allow:
        if not allows_all:
            lines.append(("devices.allow", "a"))
    else:
        lines.append(("devices.deny", "a"))
    name = "devices.deny" if rules.allow else "devices.allow"
    for (kind, major, minor), access in rules.exceptions.items():
        numbers = ":".join("*" if value == -1 else str(value) for value in (major, minor))
        lines.append((name, f"{kind} {numbers} {''.join(sorted(access))}"))
    return lines
