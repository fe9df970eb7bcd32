"""update, container clone: other limits, for the same container or for a copy."""

from __future__ import annotations

from pyengine.cli.declare import Parameter, UsageError, argument, command, option
from pyengine.cli.many import LATEST, select
from pyengine.cli.run import passed_on
from pyengine.cli.run_options import PROCESS, RESOURCES, SUPERVISION
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
_ULIMIT = tuple(one for one in RESOURCES if one.dest == "ulimit")
_ENV = tuple(one for one in PROCESS if one.dest in ("env", "unsetenv"))
_RESTART = tuple(one for one in SUPERVISION if one.dest == "restart")
# What is not given stays, so none of these has a default here.
_HEALTH = tuple(
    Parameter(True, one.declarations, {**one.settings, "default": None, "show_default": False})
    for one in SUPERVISION
    if one.dest != "restart"
)


@command(
    *_LIMITS, *_ULIMIT, *_ENV, *_RESTART, *_HEALTH, LATEST,
    argument("container", required=False, default="", metavar="[CONTAINER]"),
)  # fmt: skip
def update(engine: Engine, /, container: str, latest: bool, **given: Any) -> None:
    """Update a container: at once and for its next starts; variables for the next ones only.

    What is not given stays as it is. New health checks begin anew, as does the count of restarts.
    """
    (name,) = select(engine, (container,) if container else (), latest=latest)
    checks = {one.dest: given.pop(one.dest) for one in _HEALTH}
    checks = {name: value for name, value in checks.items() if value is not None}
    given["env"] = tuple(passed_on(given["env"]))
    if not (checks or any(given[one.dest] != one.default for one in _LIMITS + _RESTART)
            or given["ulimit"] or given["env"] or given["unsetenv"]):  # fmt: skip
        raise UsageError("nothing to update: give at least one option")
    print(engine.containers.update(name, ContainerOptions("", **given), checks))


@command(
    *_LIMITS,
    option("--destroy", is_flag=True, help="Remove the original container."),
    option("-f", "--force", is_flag=True, help="With --destroy: even if it runs."),
    option("--name", default="", metavar="NAME", help="Name of the copy."),
    option("--pod", default="", metavar="POD", help="Join a pod; there are none yet."),
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
    pod: str,
    run: bool,
    **given: Any,
) -> None:
    """Make a copy of a container: with its options, without what it has written."""
    if not 1 <= len(words) <= 3:
        raise UsageError("Must Specify at least 1 argument: CONTAINER [NAME [IMAGE]]")
    if pod:
        from pyengine.containers.configuring.names import refuse_pods

        refuse_pods(ContainerOptions("", pod=pod))
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
