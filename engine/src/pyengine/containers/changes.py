"""What changes a container between its start and its end: pause, unpause, a new name."""

from __future__ import annotations

from pyengine.containers import record
from pyengine.database.sqlite import sqlite3
from pyengine.errors import ConfigError, ConflictError
from pyengine.specgen.options import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host


def pause(host: Host, id_: str, *, paused: bool) -> None:
    """Freeze a running container, or let a frozen one go on.

    Raises:
        ConflictError: it is not in the state for that.
    """
    with host.locked(id_) as lock:
        container = record.still_there(host, lock, id_)
        _check(container, paused=paused)
        runtime = host.runtime(container.config["runtime"])
        intents = host.database.intents
        with intents.running(
            record.PAUSE_INTENT, id_, {}, lambda _: settle_pause(host, container)
        ) as intent:
            if paused:
                runtime.pause(id_)
            else:
                runtime.resume(id_)
            with host.database.write() as connection:
                record.update(connection, container, status="paused" if paused else "running")
                intent.finish(connection)
        host.tell(container, "pause" if paused else "unpause")


def _check(container: record.Container, *, paused: bool) -> None:
    id_, status = container.id, container.status
    if paused and status == "paused":
        raise ConflictError(f'"{id_}" is already paused: container state improper')
    if paused and status != "running":
        raise ConflictError(
            f'"{id_}" is not running, can\'t pause: it is {status}: container state improper'
        )
    if not paused and status != "paused":
        raise ConflictError(
            f'"{id_}" is not paused, can\'t unpause: it is {status}: container state improper'
        )


def settle_pause(host: Host, container: record.Container) -> None:
    """Write down what the runtime says, where a pause or its end was not seen to succeed."""
    record.observe(host, container)
    if not container.running:
        return  # its clean-up writes the end
    state = host.runtime(container.config["runtime"]).state(container.id)
    if state is not None and state.get("status") in ("running", "paused"):
        with host.database.write() as connection:
            record.update(connection, container, status=state["status"])


def rename(host: Host, container: record.Container, name: str) -> None:
    """Give a container another name.

    Raises:
        ConfigError: it cannot be one.
        ConflictError: another container has it.
    """
    if not is_name(name):
        raise ConfigError(
            f'invalid name "{name}": names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument'
        )
    try:
        with host.database.write() as connection:
            record.update(connection, container, name=name)
    except sqlite3.IntegrityError as error:
        raise record.name_taken(host, name) from error
    if container.live and container.config["supervision"]:
        from pyengine.containers import supervising

        supervising.name_events(host, container)
    host.tell(container, "rename")
