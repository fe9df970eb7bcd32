"""Containers that another one needs: ``--requires``, and whose namespaces it shares."""

from __future__ import annotations

from pyengine.containers import record
from pyengine.errors import ConflictError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Connection

    from pyengine.containers.host import Host
    from pyengine.specgen.types import ContainerConfig

PREFIX = "container:"


def resolve(host: Host, config: ContainerConfig, requires: tuple[str, ...]) -> None:
    """Replace names of containers by their ids, and note whom the container needs.

    Raises:
        NotFoundError: there is no such container.
        ConflictError: it does not share what it is to share.
    """
    needs = [record.find(host, name).id for name in requires]
    modes = config["namespaces"]
    for kind, mode in (("network", config["network"]), *list(modes.items())):
        if not mode.startswith(PREFIX):
            continue
        try:
            other = record.find(host, mode[len(PREFIX) :])
        except NotFoundError as error:
            raise NotFoundError(
                f"looking up container to share {kind} namespace with: {error}"
            ) from error
        theirs = other.config["namespaces"].get(kind, "")
        if kind == "ipc" and theirs in ("private", "none"):
            raise ConflictError(
                f"joining IPC of container {other.id} is not allowed: non-shareable IPC (hint: use"
                " --ipc shareable for the donor container)"
            )
        needs.append(other.id)
        if kind == "network":
            config["network"] = f"{PREFIX}{other.id}"
        else:
            modes[kind] = f"{PREFIX}{other.id}"
    config["dependencies"] = list(dict.fromkeys(needs))


def insert(connection: Connection, id_: str, needs: list[str]) -> None:
    """Keep those whom a new container needs."""
    connection.executemany(
        "INSERT INTO container_dependencies VALUES (?, ?)", [(id_, other) for other in needs]
    )


def with_dependents(host: Host, names: Iterable[str]) -> list[str]:
    """These containers and all that need them, each before those that it needs.

    What is named comes back as it was named, also where there is no such container.
    """
    from pyengine.containers import ending

    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        try:
            id_ = record.find(host, name).id
        except NotFoundError:
            id_ = name
        if id_ in seen:
            return
        seen.add(id_)
        for other in ending.dependents(host, id_):
            visit(other)
        order.append(name)

    for name in names:
        visit(name)
    return order
