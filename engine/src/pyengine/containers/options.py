"""What a user asks of a new container; the command line and the REST API build the same.

The fields are named after their options and grouped as these are in ``cli/run_options.py``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ProcessOptions:
    """What runs, as whom, and how it is ended."""

    command: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: tuple[str, ...] = ()  # NAME=VALUE
    stdin: bool = False
    stop_signal: str = ""
    stop_timeout_s: int = 10
    terminal: bool = False
    user: str = ""
    workdir: str = ""


class NameOptions:
    """How the container is called and finds others, labels and files for the caller included."""

    cidfile: str = ""
    hostname: str = ""
    labels: tuple[str, ...] = ()  # NAME or NAME=VALUE
    name: str = ""
    network: str = "none"


class MountOptions:
    """What is mounted."""

    read_only: bool = False
    rootfs: bool = False  # then ``image`` is a directory
    tmpfs: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


class ResourceOptions:
    """Limits."""

    cpus: float | None = None
    memory: str | None = None
    pids_limit: int | None = None


class SecurityOptions:
    """What the container may do, and what it shares with the host."""

    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security_opt: tuple[str, ...] = ()


class SupervisionOptions:
    """Health checks and restarts; times are Go's durations."""

    health_cmd: str | None = None
    health_interval: str | None = None
    health_log_destination: str = "local"
    health_max_log_count: int = 5
    health_max_log_size: int = 500
    health_on_failure: str = "none"
    health_retries: int | None = None
    health_start_period: str | None = None
    health_startup_cmd: str | None = None
    health_startup_interval: str | None = None
    health_startup_retries: int = 0
    health_startup_success: int = 0
    health_startup_timeout: str | None = None
    health_timeout: str | None = None
    no_healthcheck: bool = False
    restart: str = ""


class LoggingOptions:
    """Where output goes."""

    log_driver: str = ""
    log_opt: tuple[str, ...] = ()  # NAME=VALUE


class LifeOptions:
    """How the container is made and ends."""

    auto_remove: bool = False
    conmon: str = ""
    create_command: tuple[str, ...] = ()
    detach: bool = False
    pull: str = "missing"
    runtime: str = ""


class ContainerOptions(
    ProcessOptions, NameOptions, MountOptions, ResourceOptions, SecurityOptions,
    SupervisionOptions, LoggingOptions, LifeOptions,
):  # fmt: skip
    """Options of create and run as given, each under its long name.

    Neither a dataclass, which takes 14 ms of every run to import and to make, nor a named tuple.
    """

    image: str

    def __init__(self, image: str, **given: Any) -> None:
        """``given`` are the fields of the sections; the others have their defaults."""
        self.image = image
        cls = type(self)
        for name, value in given.items():
            if value != getattr(cls, name):  # AttributeError: no such option
                self.__dict__[name] = value

    def asks(self, section: type) -> bool:
        """Whether any option of a section differs from its default."""
        return not self.__dict__.keys().isdisjoint(section.__annotations__)
