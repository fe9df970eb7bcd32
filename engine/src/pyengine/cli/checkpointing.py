"""container checkpoint and restore."""

from __future__ import annotations

import click

from pyengine.cli.many import for_each, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyengine.engine import Engine

    Function = Callable[..., object]

_SHARED = (
    click.option("--file-locks", is_flag=True, help="Take file locks along."),
    click.option("-k", "--keep", is_flag=True, help="Keep what could be removed afterwards."),
    click.option("-l", "--latest", is_flag=True, help="The container that was created last."),
    click.option("--tcp-established", is_flag=True, help="Take open TCP connections along."),
    click.argument("containers", nargs=-1, metavar="[CONTAINER...]"),
)


def _shared(function: Function) -> Function:
    for one in reversed(_SHARED):
        function = one(function)
    return function


def _flags(*, file_locks: bool, tcp_established: bool) -> list[str]:
    given = {"--file-locks": file_locks, "--tcp-established": tcp_established}
    return [name for name, value in given.items() if value]


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="All running containers.")
@click.option("-R", "--leave-running", is_flag=True, help="Let the container go on afterwards.")
@_shared
@click.pass_obj
def checkpoint(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    every: bool,
    file_locks: bool,
    keep: bool,
    latest: bool,
    leave_running: bool,
    tcp_established: bool,
) -> None:
    """Save running containers with CRIU, which ends them."""
    names = select(engine, containers, latest=latest, every=every,
                   among=lambda one: one.status == "running")  # fmt: skip
    flags = _flags(file_locks=file_locks, tcp_established=tcp_established)
    for_each(
        names,
        lambda name: engine.containers.checkpoint(
            name, flags, keep=keep, leave_running=leave_running
        ),
    )


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="All containers with a checkpoint.")
@_shared
@click.pass_obj
def restore(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    every: bool,
    file_locks: bool,
    keep: bool,
    latest: bool,
    tcp_established: bool,
) -> None:
    """Let containers go on where their checkpoints were made."""
    host = engine.containers.host
    names = select(
        engine, containers, latest=latest, every=every,
        among=lambda one: not one.live and host.checkpointed_at(one.id) is not None,
    )  # fmt: skip
    flags = _flags(file_locks=file_locks, tcp_established=tcp_established)
    for_each(names, lambda name: engine.containers.restore(name, flags, keep=keep))
