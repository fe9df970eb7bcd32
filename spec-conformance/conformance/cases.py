"""Requirements, and how a test of one tells its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.containers import Machine


class Failure(Exception):  # noqa: N818 - an outcome, not an error of the suite
    """The runtime does not do what the requirement says."""


class NotApplicable(Exception):  # noqa: N818 - an outcome, not an error of the suite
    """This machine cannot decide the requirement."""


@dataclass(frozen=True)
class Requirement:
    """One sentence of the specification and its test."""

    file: str
    section: str
    words: str
    name: str
    test: Callable[[Machine], None]


REQUIREMENTS: list[Requirement] = []


def requirement(
    file: str, section: str, words: str, name: str = ""
) -> Callable[[Callable[[Machine], None]], Callable[[Machine], None]]:
    """Register a test.

    Args:
        file: of the specification, such as ``runtime.md``.
        section: its heading.
        words: the requirement, as the specification has it (shortened where it says more).
        name: identifies the test; the function's name when empty.
    """

    def register(test: Callable[[Machine], None]) -> Callable[[Machine], None]:
        REQUIREMENTS.append(Requirement(file, section, words, name or test.__name__, test))
        return test

    return register


def expect(condition: object, saw: str) -> None:
    """Fail with what was seen instead, unless ``condition`` holds."""
    if not condition:
        raise Failure(saw)


def expect_equal(seen: object, wanted: object, what: str) -> None:
    """Fail unless both are equal."""
    if seen != wanted:
        raise Failure(f"{what}: {seen!r}, not {wanted!r}")
