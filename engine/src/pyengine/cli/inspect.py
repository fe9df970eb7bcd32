"""inspect: everything about containers, images and volumes, as JSON."""

from __future__ import annotations

import sys

from pyengine.cli import fields
from pyengine.cli.declare import UsageError, argument, command, option
from pyengine.cli.durations import rfc3339
from pyengine.cli.many import LATEST, names_or_latest
from pyengine.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.engine import Engine

    # One object by its name.
    Look = Callable[[Engine, str, bool], dict[str, Any]]

_SIZE = option("-s", "--size", is_flag=True, help="Also what a container occupies.")


@command(
    fields.FORMAT,
    LATEST,
    _SIZE,
    option(
        "-t", "--type", "kind", default="all", show_default=True, metavar="TYPE",
        help="container, image, volume or all: the first that has such a name.",
    ),
    argument("names", nargs=-1, metavar="CONTAINER|IMAGE|VOLUME..."),
)  # fmt: skip
def inspect(
    engine: Engine, /, names: tuple[str, ...], form: str, latest: bool, size: bool, kind: str
) -> None:
    """Print the configuration and state of containers, images or volumes."""
    if kind not in ("all", *KINDS):
        known = ", ".join(("all", *KINDS))
        raise UsageError(f'"{kind}" is not a valid type: invalid argument: use {known}')
    if size and kind not in ("all", "container"):
        raise UsageError(f"size is not supported for type {kind}")
    if latest and kind not in ("all", "container"):
        raise UsageError(f"latest is not supported for type {kind}")
    _print(engine, names, form, KINDS if kind == "all" else (kind,), latest=latest, size=size)


@command(
    fields.FORMAT, LATEST, _SIZE, argument("names", nargs=-1, metavar="CONTAINER..."),
    name="inspect",
)  # fmt: skip
def inspect_containers(
    engine: Engine, /, names: tuple[str, ...], form: str, latest: bool, size: bool
) -> None:
    """Print the configuration and state of containers."""
    _print(engine, names, form, ("container",), latest=latest, size=size)


def _print(
    engine: Engine, names: tuple[str, ...], form: str, kinds: tuple[str, ...], *, latest: bool,
    size: bool,
) -> None:  # fmt: skip
    wanted = names_or_latest(engine, names, latest=latest)
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for name in wanted:
        one = _first(engine, name, kinds, size=size)
        if one is None:
            missing.append(name)
        else:
            found.append(one)
    fields.print_objects(form, found)
    for name in missing[:-1]:
        sys.stdout.flush()
        print(f"Error: {_problem(name, kinds)}", file=sys.stderr)
    if missing:
        raise NotFoundError(_problem(missing[-1], kinds))


def _problem(name: str, kinds: tuple[str, ...]) -> str:
    kind = kinds[0] if len(kinds) == 1 else "object"
    if kind == "container":
        return f'inspecting object: no such container "{name}"'
    return f'inspecting object: no such {kind}: "{name}"'


def _first(
    engine: Engine, name: str, kinds: tuple[str, ...], *, size: bool
) -> dict[str, Any] | None:
    for kind in kinds:
        try:
            return _LOOKS[kind](engine, name, size)
        except NotFoundError:
            continue
    return None


def _container(engine: Engine, name: str, size: bool) -> dict[str, Any]:
    container = engine.containers.find(name)
    stamps = (container.created_at, container.started_at, container.finished_at)
    created, started, finished = (rfc3339(stamp) for stamp in stamps)
    found = engine.containers.inspect(container, (created, started, finished))
    if size:
        from pyengine.cli import container_rows

        sizes = container_rows.size(engine, container)
        found |= {"SizeRw": sizes.written, "SizeRootFs": sizes.root_fs}
    return found


def _image(engine: Engine, name: str, _size: bool) -> dict[str, Any]:
    from pyengine.images import describing

    return describing.inspect(engine.images.resolve(name), engine.storage)


def _volume(engine: Engine, name: str, _size: bool) -> dict[str, Any]:
    volume = engine.volumes.find(name)
    return engine.volumes.inspect(volume, rfc3339(volume.created_at))


_LOOKS: dict[str, Look] = {"container": _container, "image": _image, "volume": _volume}
KINDS = tuple(_LOOKS)
