"""Commands that take several containers: which are meant, each is tried, every failure is told."""

from __future__ import annotations

import sys

from pyengine.cli.declare import UsageError, argument, option
from pyengine.errors import ConfigError, NotFoundError, PyengineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyengine.cli.declare import Parameter
    from pyengine.containers.record import Container
    from pyengine.engine import Engine

CONTAINERS = argument("containers", nargs=-1, metavar="[CONTAINER...]")
LATEST = option("-l", "--latest", is_flag=True, help="The container that was created last.")
IGNORE = option("-i", "--ignore", is_flag=True, help="A missing container is no error.")
CIDFILE = option(
    "--cidfile", "cidfiles", multiple=True, metavar="FILE", help="Read a container's id from FILE."
)
FILTER = option(
    "-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE",
    help="The containers that fit, such as name=REGEX, label=KEY, status=STATUS.",
)  # fmt: skip


def all_option(which: str, *letters: str) -> Parameter:
    """``--all``."""
    return option(*letters, "--all", "every", is_flag=True, help=f"All {which}.")


def select(
    engine: Engine,
    names: tuple[str, ...],
    *,
    latest: bool = False,
    every: bool = False,
    cidfiles: tuple[str, ...] = (),
    filters: tuple[str, ...] = (),
    ignore: bool = False,
    among: Callable[[Container], bool] = lambda _: True,
) -> list[str]:
    """The containers that a command line means, as it names them.

    Args:
        engine: where.
        names: the words of the command line.
        latest: ``--latest``.
        every: ``--all``.
        cidfiles: files of ``--cidfile``.
        filters: ``--filter``.
        ignore: a cidfile that is missing is no error.
        among: what ``--all`` and ``--filter`` choose from.
    """
    _check(names, latest=latest, every=every, cidfiles=cidfiles, filters=filters)
    if latest:
        return [engine.containers.latest().id]
    if every or filters:
        return [one.id for one in engine.containers.matching(filters) if among(one)]
    return [*names, *_read_cidfiles(cidfiles, ignore=ignore)]


def _check(
    names: tuple[str, ...], *, latest: bool, every: bool, cidfiles: tuple[str, ...],
    filters: tuple[str, ...],
) -> None:  # fmt: skip
    """Refuse what contradicts itself, in podman's words."""
    if cidfiles and (every or latest):
        raise UsageError("--all, --latest, and --cidfile cannot be used together")
    if every and latest:
        raise UsageError("--all and --latest cannot be used together")
    if names and every:
        raise UsageError("no arguments are needed with --all")
    if names and latest:
        raise UsageError("--latest and containers cannot be used together")
    if filters and (names or latest or cidfiles):
        raise UsageError("--filter takes no arguments, nor --latest or --cidfile")
    if not (names or every or latest or cidfiles or filters):
        raise UsageError("you must provide at least one name or id")


def _read_cidfiles(paths: tuple[str, ...], *, ignore: bool) -> list[str]:
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                found.append(file.readline().strip())
        except FileNotFoundError as error:
            if not ignore:
                raise ConfigError(f"reading CIDFile: open {path}: {error.strerror}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"reading CIDFile: open {path}: {error}") from error
    return found


DETACH_KEYS = option(
    "--detach-keys", metavar="KEYS",
    help="Keys that leave a container in a terminal, such as ctrl-p,ctrl-q; empty for none.",
)  # fmt: skip


def names_or_latest(engine: Engine, names: tuple[str, ...], *, latest: bool) -> list[str]:
    """The containers named, or the latest one."""
    return select(engine, names, latest=latest)


def for_each(names: Iterable[str], act: Callable[[str], object]) -> None:
    """Print what ``act`` answers for each name; the last failure is raised, the others printed."""
    in_two_steps(names, lambda name: lambda: act(name), together=False)


def in_two_steps(
    names: Iterable[str], begin: Callable[[str], Callable[[], object]], *, together: bool = True
) -> None:
    """As ``for_each``; ``begin`` answers what remains to be done.

    With ``together`` all are begun before the first is completed.
    """
    failure: PyengineError | None = None
    begun = ((name, _attempt(begin, name)) for name in names)
    for _, complete in list(begun) if together else begun:
        try:
            answer = complete()
        except PyengineError as error:
            if failure is not None:
                print(f"Error: {failure}", file=sys.stderr, flush=True)
            failure = error
        else:
            if answer is not None:
                print(answer, flush=True)
    if failure is not None:
        raise failure


def begin_each(
    names: Iterable[str], begin: Callable[[str], Callable[[], object]], *, ignore: bool
) -> None:
    """As ``in_two_steps``, and print each name; with ``ignore`` a missing container is no error."""

    def begin_one(name: str) -> Callable[[], object]:
        try:
            complete = begin(name)
        except NotFoundError:
            if not ignore:
                raise
            return lambda: None

        def end() -> str:
            complete()
            return name

        return end

    in_two_steps(names, begin_one)


def _attempt(begin: Callable[[str], Callable[[], object]], name: str) -> Callable[[], object]:
    """What remains to be done; a failure to begin is raised there, in its turn."""
    try:
        return begin(name)
    except PyengineError as error:
        problem = error

        def fail() -> object:
            raise problem

        return fail
