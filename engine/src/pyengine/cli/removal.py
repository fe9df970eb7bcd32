"""rm, prune, cleanup: the end of containers."""

from __future__ import annotations

import os

from pyengine.cli.containers import TIME
from pyengine.cli.declare import UsageError, command, option
from pyengine.cli.many import (
    CIDFILE,
    CONTAINERS,
    FILTER,
    IGNORE,
    LATEST,
    all_option,
    begin_each,
    for_each,
    select,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine

Names = tuple[str, ...]


@command(
    all_option("containers", "-a"),
    CIDFILE,
    option("--depend", is_flag=True, help="Also the containers that need it, before it."),
    FILTER.without("-f"),
    option("-f", "--force", is_flag=True, help="Also running ones, which are stopped first."),
    IGNORE,
    LATEST,
    TIME,
    option("-v", "--volumes", is_flag=True, help="Remove its anonymous volumes, too."),
    CONTAINERS,
)
def rm(
    engine: Engine,
    /,
    containers: Names,
    every: bool,
    cidfiles: Names,
    depend: bool,
    filters: Names,
    force: bool,
    ignore: bool,
    latest: bool,
    timeout_s: int | None,
    volumes: bool,
) -> None:
    """Remove one or more containers."""
    if timeout_s is not None and not force:
        raise UsageError("--force option must be specified to use the --time option")
    ignore = ignore or force  # podman: --force forgives a missing container
    names = select(
        engine, containers, latest=latest, every=every, cidfiles=cidfiles, filters=filters,
        ignore=ignore,
    )  # fmt: skip
    if every or filters:
        names.reverse()  # nobody needs a container that is younger
    if depend:
        names = engine.containers.with_dependents(names)

    begin_each(
        names,
        lambda name: engine.containers.begin_remove(
            name, force=force, timeout_s=timeout_s, volumes=volumes, needed=every or depend
        ),
        ignore=ignore,
    )


@command(
    FILTER.without("-f"),
    option("-f", "--force", is_flag=True, help="Do not ask."),
)
def prune(engine: Engine, /, filters: Names, force: bool) -> None:
    """Remove all containers that do not run."""
    from pyengine.cli.confirm import confirm

    names = engine.containers.prunable(filters)
    if force or confirm("WARNING! This will remove all non running containers."):
        for_each(names[::-1], engine.containers.prune_one)


@command(
    all_option("containers", "-a"),
    LATEST,
    option("--exec", "session", default="", metavar="ID", help="Only this exec session."),
    option("--life", default="", metavar="NAME", help="Of a container that may start again."),
    option("--rm", "remove", is_flag=True, help="Remove the container too."),
    option("--rmi", "remove_image", is_flag=True, help="With --rm: remove its image too."),
    option("--stopped-only", is_flag=True, help="A container that runs is no error."),
    CONTAINERS,
)
def cleanup(
    engine: Engine,
    /,
    containers: Names,
    every: bool,
    latest: bool,
    life: str,
    remove: bool,
    remove_image: bool,
    session: str,
    stopped_only: bool,
) -> None:
    """Clean up after containers that have ended; their monitors call this."""
    if remove_image and not remove:
        raise UsageError("--rmi needs --rm")
    from pyengine.monitor.supervision import RESTART_VARIABLE

    names = select(engine, containers, latest=latest, every=every)

    def clean(name: str) -> str | None:
        if session:
            engine.observing.end_session(name, session)
            return None
        # A monitor names a container that has removed itself, or that is running again.
        if not (remove or every or latest):
            restart = bool(life) and RESTART_VARIABLE in os.environ
            engine.clean_up(name, life=life, restart=restart)
            return None
        container = engine.containers.find(name)
        if container.running and (stopped_only or every):
            return None
        engine.containers.clean_up(container.id)
        if remove:
            engine.containers.remove(container.id, force=False)
        if remove_image and container.image_id:
            engine.images.remove(container.image_id, force=False)
        return name

    for_each(names, clean)
