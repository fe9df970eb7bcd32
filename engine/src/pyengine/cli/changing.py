"""update, container clone: other limits, for the same container or for a copy."""

from __future__ import annotations

from pyengine.cli.declare import UsageError, argument, command, option
from pyengine.cli.run_options import RESOURCES, SUPERVISION
from pyengine.containers.options import ContainerOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine

# What a cgroup can change while processes are in it.
LIMITS = {
    "blkio_weight", "blkio_weight_device", "cpu_period", "cpu_quota", "cpu_rt_period",
    "cpu_rt_runtime", "cpu_shares", "cpus", "cpuset_cpus", "cpuset_mems", "device_read_bps",
    "device_read_iops", "device_write_bps", "device_write_iops", "memory", "memory_reservation",
    "memory_swap", "memory_swappiness", "pids_limit",
}  # fmt: skip
_LIMITS = tuple(one for one in RESOURCES if one.dest in LIMITS)
_RESTART = tuple(one for one in SUPERVISION if one.dest == "restart")


@command(*_LIMITS, *_RESTART, argument("container", metavar="CONTAINER"))
def update(engine: Engine, /, container: str, **given: Any) -> None:
    """Update the limits of a container, at once and for its next starts.

    What is not given stays as it is. A restart policy holds from the next start on, except for
    no, which holds at once.
    """
    if not any(value != _default(name) for name, value in given.items()):
        raise UsageError("nothing to update: give at least one option")
    print(engine.containers.update(container, ContainerOptions("", **given)))


def _default(name: str) -> object:
    return next(one.default for one in (*_LIMITS, *_RESTART) if one.dest == name)


@command(
    *_LIMITS,
    option("--destroy", is_flag=True, help="Remove the original container."),
    option("-f", "--force", is_flag=True, help="With --destroy: even if it runs."),
    option("--name", default="", metavar="NAME", help="Name of the copy."),
    option("--run", is_flag=True, help="Start the copy."),
    argument("words", nargs=-1, metavar="CONTAINER [NAME [IMAGE]]"),
)
def clone(
    engine: Engine,
    /,
    *,
    words: tuple[str, ...],
    destroy: bool,
    force: bool,
    name: str,
    run: bool,
    **given: Any,
) -> None:
    """Make a copy of a container: with its options, without what it has written."""
    if not 1 <= len(words) <= 3:
        raise UsageError("Must Specify at least 1 argument: CONTAINER [NAME [IMAGE]]")
    if force and not destroy:
        raise UsageError("cannot set --force without --destroy")
    original, given_name, image = (*words, "", "")[:3]
    if name and given_name:
        raise UsageError("cannot set both --name and the NAME argument")
    from pyengine.cli.report import progress

    options = ContainerOptions(image, name=name or given_name, **given)
    source = engine.container_source(options, lambda: progress(quiet=False)) if image else None
    id_ = engine.containers.clone(original, options, source, destroy=destroy, force=force)
    if run:
        engine.containers.start(id_)
    print(id_)
