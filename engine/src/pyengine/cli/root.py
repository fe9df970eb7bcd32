"""The options before the command, and the engine they describe."""

from __future__ import annotations

from pyengine import log
from pyengine.cli.declare import Choice, option
from pyengine.engine import Engine, Options

PARAMETERS = (
    option("--root", metavar="DIR", help="Directory of images, containers and the database."),
    option("--runroot", metavar="DIR", help="Directory of what a reboot may forget."),
    option("--runtime", metavar="NAME", help="Path or name of the OCI runtime."),
    option("--runtime-flag", multiple=True, metavar="FLAG", help="Option for the OCI runtime."),
    option("--conmon", metavar="PATH", help="Path of the container monitor."),
    option("--cgroup-manager", type=Choice(["cgroupfs", "systemd"]), help="Who makes cgroups."),
    option("--events-backend", type=Choice(["file", "none"]), help="Whether events are kept."),
    option(
        "--log-level", type=Choice(log.LEVELS, case_sensitive=False), default="warn",
        help="Print messages of this level and above.",
    ),
    option("--storage-driver", type=Choice(["overlay", "vfs"]), help="How layers are stacked."),
)  # fmt: skip


def make_engine(log_level: str, **options: object) -> Engine:
    """The engine that the options' values ask for."""
    log.set_level(log_level)
    return Engine(Options(**options))  # type: ignore[arg-type]  # the declarations made the types
