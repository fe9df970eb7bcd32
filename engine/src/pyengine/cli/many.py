"""Commands that take several containers: each is tried, every failure is told."""

from __future__ import annotations

import sys

from pyengine.cli.declare import UsageError, option
from pyengine.errors import PyengineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyengine.engine import Engine

LATEST = option("-l", "--latest", is_flag=True, help="The container that was created last.")


def names_or_latest(engine: Engine, names: tuple[str, ...], *, latest: bool) -> list[str]:
    """The containers named, or the latest one."""
    if latest and names:
        raise UsageError("--latest and containers cannot be used together")
    if latest:
        return [engine.containers.latest().id]
    if not names:
        raise UsageError("you must provide at least one name or id")
    return list(names)


def for_each(names: Iterable[str], act: Callable[[str], object]) -> None:
    """Print what ``act`` answers for each name; the last failure is raised, the others printed."""
    failure: PyengineError | None = None
    for name in names:
        try:
            answer = act(name)
        except PyengineError as error:
            if failure is not None:
                print(f"Error: {failure}", file=sys.stderr, flush=True)
            failure = error
        else:
            if answer is not None:
                print(answer, flush=True)
    if failure is not None:
        raise failure
