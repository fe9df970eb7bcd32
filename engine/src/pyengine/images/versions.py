"""Constraints on versions, as ``skopeo sync`` takes them for tags (``>= 1.2, < 2 || ~3.1``)."""

from __future__ import annotations

import re

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Major, minor, patch, and what stands after a dash; and how many of the numbers were given.
    Version = tuple[int, int, int, tuple[str, ...]]
    Check = Callable[[Version], bool]

_NUMBERS = r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
_TAG = re.compile(_NUMBERS)
_WILD = r"(?:v?(?:\d+|[xX*])(?:\.(?:\d+|[xX*])){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)"
_RANGE = re.compile(rf"\s*({_WILD})\s+-\s+({_WILD})\s*")
_ONE = re.compile(rf"\s*(=|!=|>=|=>|<=|=<|>|<|~>|~|\^|)\s*({_WILD})\s*,?")
_PART = re.compile(r"v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?.*")


def matching(tags: list[str], constraint: str) -> list[str]:
    """The tags that are versions and fulfil a constraint.

    Raises:
        ConfigError: the constraint makes no sense.
    """
    groups = [_group(text, constraint) for text in constraint.split("||")]
    found = []
    for tag in tags:
        match = _TAG.fullmatch(tag)
        if match:
            major, minor, patch, rest = match.groups()
            version = (int(major), int(minor or 0), int(patch or 0), _words(rest))
            if any(all(check(version) for check in group) for group in groups):
                found.append(tag)
    return found


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


def _group(text: str, whole: str) -> list[Check]:
    """Checks of which all must hold."""
    span = _RANGE.fullmatch(text)
    if span:
        return [_check(">=", span[1]), _check("<=", span[2])]
    checks, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _ONE.match(text, position)
        if not match:
            raise ConfigError(f"version constraint {whole!r}: improper at {text[position:]!r}")
        checks.append(_check(match[1] or "=", match[2]))
        position = match.end()
    if not checks:
        raise ConfigError(f"version constraint {whole!r}: it is empty")
    return checks


def _check(operator: str, text: str) -> Check:
    match = _PART.fullmatch(text)
    assert match is not None
    given = [int(one) if one and one.isdigit() else None for one in match.groups()[:3]]
    count = given.index(None) if None in given else 3  # what comes after a wildcard is wild too
    low = tuple((number or 0) if index < count else 0 for index, number in enumerate(given))
    rest = _words(match[4]) if count == 3 else ()
    end = _above(operator, low, count)

    def holds(version: Version) -> bool:
        if version[3] and not rest:
            return False  # a pre-release must be asked for
        least, most = _key((*low, rest)), _key((*end, ())) if end else None  # type: ignore[arg-type]  # three numbers
        key = _key(version)
        within = key >= least and (most is None or key[:3] < most[:3])
        if operator in ("=", "~", "~>", "^"):
            return within if end is not None or count < 3 else key == least
        if operator == "!=":
            return not within if count < 3 else key != least
        after = key[:3] >= most[:3] if most and count < 3 else key > least
        return {
            ">": after, ">=": key >= least, "=>": key >= least, "<": key < least,
            "<=": not after, "=<": not after,
        }[operator]  # fmt: skip

    return holds


def _above(operator: str, low: tuple[int, ...], count: int) -> tuple[int, int, int] | None:
    """The first version that is too new; None where there is none, or one version is meant."""
    major, minor, patch = low
    if count == 0:
        return None
    if operator == "^":
        if major or count == 1:
            return (major + 1, 0, 0)
        if minor or count == 2:
            return (0, minor + 1, 0)
        return (0, 0, patch + 1)
    if operator in ("~", "~>"):
        return (major + 1, 0, 0) if count == 1 else (major, minor + 1, 0)
    if count == 1:
        return (major + 1, 0, 0)
    return (major, minor + 1, 0) if count == 2 else None


def _key(version: Version) -> tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]:
    """To compare by: a pre-release comes before its version (semver.org, 11)."""
    words = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in version[3])
    return (version[0], version[1], version[2], 0 if words else 1, words)
