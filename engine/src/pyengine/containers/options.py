"""What a user asks of a new container; the command line and the REST API build the same."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ContainerOptions:
    """Options of create and run as given, each under its long name.

    Neither a dataclass, which takes 14 ms of every run to import and to make, nor a named tuple.
    """

    image: str  # a directory with rootfs=True
    command: tuple[str, ...] = ()
    rootfs: bool = False
    name: str = ""
    entrypoint: str | None = None
    env: tuple[str, ...] = ()  # NAME=VALUE, or NAME to pass on ours
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    terminal: bool = False
    stdin: bool = False
    network: str = "none"
    read_only: bool = False
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    memory: str | None = None
    cpus: float | None = None
    pids_limit: int | None = None
    volumes: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # NAME or NAME=VALUE
    stop_signal: str = ""
    stop_timeout_s: int = 10
    auto_remove: bool = False
    detach: bool = False
    pull: str = "missing"
    cidfile: str = ""
    runtime: str = ""
    conmon: str = ""
    create_command: tuple[str, ...] = ()

    def __init__(self, image: str, **given: Any) -> None:
        """``given`` are the fields above; the others have their defaults."""
        unknown = given.keys() - self.__annotations__.keys()
        if unknown:
            raise TypeError(f"no such option: {sorted(unknown)[0]}")
        self.image = image
        self.__dict__.update(given)
