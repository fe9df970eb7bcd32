"""One container as ps shows it: columns, and podman's fields for templates and JSON."""

from __future__ import annotations

import os
import time

from pyengine.cli.durations import human, rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.record import Container
    from pyengine.engine import Engine

COMMAND_WIDTH = 17
NEVER_S = -62135596800  # Go's zero time
# Under their names in /proc/PID/ns and in podman's templates and JSON.
NAMESPACES = (
    ("cgroup", "CGROUPNS", "Cgroup"), ("ipc", "IPC", "Ipc"), ("mnt", "MNT", "Mnt"),
    ("net", "NET", "Net"), ("pid", "PIDNS", "Pidns"), ("user", "USERNS", "User"),
    ("uts", "UTS", "Uts"),
)  # fmt: skip


class Size:
    """Bytes that a container has written, and with its image."""

    __slots__ = ("root_fs", "written")

    def __init__(self, written: int, root_fs: int) -> None:
        self.written, self.root_fs = written, root_fs

    def __str__(self) -> str:
        """As the SIZE column has it."""
        from pyengine.cli.sizes import compact

        return f"{compact(self.written)} (virtual {compact(self.root_fs)})"


def size(engine: Engine, container: Container) -> Size:
    """What one container occupies."""
    from pyengine.errors import NotFoundError
    from pyengine.storage.usage import written_bytes

    written = written_bytes(engine.storage.container_directory(container.id))
    try:
        image = engine.images.resolve(container.image_id).size if container.image_id else 0
    except NotFoundError:  # removed by force; the container keeps the layers
        image = 0
    return Size(written, written + image)


def status(container: Container, health: str = "") -> str:
    """The STATUS column."""
    now = time.time()
    if container.status == "running":
        return f"Up {_since(now, container.started_at)}" + (f" ({health})" if health else "")
    if container.status == "exited":
        ended = container.finished_at or container.created_at
        return f"Exited ({container.exit_code}) {_since(now, ended)} ago"
    return container.status.capitalize()


def _since(now: float, then: float | None) -> str:
    return human(now - (then or now))


def created(container: Container) -> str:
    """The CREATED column."""
    return f"{_since(time.time(), container.created_at)} ago"


def command(container: Container, *, no_trunc: bool) -> str:
    """The COMMAND column."""
    text = " ".join(container.config["command"] or container.config["entrypoint"])
    if not no_trunc and len(text) > COMMAND_WIDTH:
        return f"{text[:COMMAND_WIDTH]}..."
    return text


def namespaces(container: Container) -> dict[str, str]:
    """The inode numbers of its namespaces under the names of ``/proc/PID/ns``."""
    found = {}
    for kind, _, _ in NAMESPACES:
        try:
            link = os.readlink(f"/proc/{container.pid}/ns/{kind}") if container.pid else ""
        except OSError:  # it has just ended
            link = ""
        found[kind] = link.partition("[")[2].rstrip("]")
    return found


def as_json(
    container: Container,
    health: str = "",
    size: Size | None = None,
    restarts: int = 0,
    *,
    with_namespaces: bool = False,
) -> dict[str, Any]:
    """Podman's fields."""
    config = container.config
    ended = container.status == "exited"
    found = namespaces(container) if with_namespaces else {}
    return {
        "AutoRemove": config["auto_remove"],
        "Command": config["command"],
        "CreatedAt": created(container),
        "Exited": ended,
        "ExitedAt": int(container.finished_at) if ended and container.finished_at else NEVER_S,
        "ExitCode": container.exit_code or 0,
        "Id": container.id,
        "Image": container.image_name,
        "ImageID": container.image_id or "",
        "IsInfra": False,
        "Labels": config["labels"] or None,
        "Mounts": [*(volume["destination"] for volume in config["volumes"]), *config["tmpfs"]],
        "Names": [container.name],
        "Namespaces": {name: found[kind] for kind, _, name in NAMESPACES} if found else {},
        "Networks": [],
        "Pid": container.pid or 0,
        "Pod": "",
        "PodName": "",
        "Ports": None,
        "Restarts": restarts,
        "Size": {"rootFsSize": size.root_fs, "rwSize": size.written} if size else None,
        "StartedAt": int(container.started_at) if container.started_at else NEVER_S,
        "State": container.status,
        "Status": status(container, health),
        "Created": int(container.created_at),
    }


def fields(
    container: Container, health: str, size: Size | None, restarts: int = 0, *, no_trunc: bool
) -> dict[str, Any]:
    """What a template may name: the columns as they are shown, and podman's other fields."""
    at = rfc3339(container.created_at).replace("T", " ").replace("Z", " +0000 UTC")
    shown = status(container, health)
    inodes = namespaces(container)
    return {
        **as_json(container, health, size, restarts, with_namespaces=True),
        **{title: inodes[kind] for kind, title, _ in NAMESPACES},
        "ID": container.id if no_trunc else container.id[:12],
        "Command": command(container, no_trunc=no_trunc),
        "RunningFor": created(container),
        "Status": shown,
        "State": shown,
        "Ports": "",
        "Names": container.name,
        "Networks": "",
        "Size": str(size) if size else "",
        "Labels": container.config["labels"],
        "Created": at,
        "CreatedAt": at,
        "CreatedHuman": created(container),
    }
