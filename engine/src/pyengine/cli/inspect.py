"""inspect: everything about containers and images, as JSON."""

from __future__ import annotations

import click

from pyengine.cli import fields
from pyengine.cli.durations import rfc3339
from pyengine.cli.many import LATEST, names_or_latest
from pyengine.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine


@click.command()
@fields.option
@LATEST.to_click()
@click.argument("containers", nargs=-1, metavar="CONTAINER|IMAGE...")
@click.pass_obj
def inspect(engine: Engine, /, containers: tuple[str, ...], form: str, latest: bool) -> None:
    """Print the configuration and state of one or more containers or images."""
    names = names_or_latest(engine, containers, latest=latest)
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for name in names:
        try:
            container = engine.containers.find(name)
        except NotFoundError:
            image = _image(engine, name)
            if image is None:
                missing.append(name)
            else:
                found.append(image)
            continue
        stamps = (container.created_at, container.started_at, container.finished_at)
        times = tuple(rfc3339(stamp) for stamp in stamps)
        found.append(engine.containers.inspect(container, (times[0], times[1], times[2])))
    fields.print_objects(form, found)
    if missing:
        raise NotFoundError(f'inspecting object: no such object: "{missing[0]}"')


def _image(engine: Engine, name: str) -> dict[str, Any] | None:
    from pyengine.images import describing

    try:
        return describing.inspect(engine.images.resolve(name), engine.storage)
    except NotFoundError:
        return None
