"""stats: what containers use, once or again and again."""

from __future__ import annotations

import sys
import time

import click

from pyengine.cli import fields, sizes
from pyengine.cli.durations import go_duration
from pyengine.cli.report import is_json, table
from pyengine.config import user
from pyengine.errors import ConfigError, NotFoundError
from pyengine.specgen.cgroups import is_v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.record import Container
    from pyengine.containers.statistics import Usage
    from pyengine.engine import Engine

SHORT_ID = 12
CLEAR = "\033[2J\033[H"
# The table's columns: field and heading.
COLUMNS = {
    "ID": "ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %", "NetIO": "NET IO", "BlockIO": "BLOCK IO", "PIDS": "PIDS",
    "UpTime": "CPU TIME", "AVGCPU": "AVG CPU %",
}  # fmt: skip
HEADINGS = {
    **COLUMNS, "Up": "CPU TIME", "AvgCPU": "AVG CPU", "MemUsageBytes": "MEM USAGE / LIMIT",
    "CPUNano": "CPU NANO", "ContainerID": "CONTAINER ID", "CPUSystemNano": "CPU SYSTEM NANO",
    "SystemNano": "SYSTEM NANO", "MemLimit": "MEM LIMIT", "NetInput": "NET INPUT",
    "NetOutput": "NET OUTPUT", "BlockInput": "BLOCK INPUT", "BlockOutput": "BLOCK OUTPUT",
    "PerCPU": "PER CPU", "Duration": "DURATION",
}  # fmt: skip
JSON_KEYS = {
    "id": "ID", "name": "Name", "cpu_time": "UpTime", "cpu_percent": "CPUPerc",
    "avg_cpu": "AVGCPU", "mem_usage": "MemUsage", "mem_percent": "MemPerc", "net_io": "NetIO",
    "block_io": "BlockIO", "pids": "PIDS",
}  # fmt: skip


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="Also containers that do not run.")
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a Go template.")
@click.option("-i", "--interval", type=click.IntRange(1), default=5, show_default=True,
              metavar="SECONDS", help="Time between reports.")  # fmt: skip
@click.option("-l", "--latest", is_flag=True, help="The container that was created last.")
@click.option("--no-reset", is_flag=True, help="Do not clear the terminal between reports.")
@click.option("--no-stream", is_flag=True, help="Report once.")
@click.option("--no-trunc", is_flag=True, help="Print whole ids.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def stats(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    every: bool,
    form: str,
    interval: int,
    latest: bool,
    no_reset: bool,
    no_stream: bool,
    no_trunc: bool,
) -> None:
    """Show what containers use of processors, memory, network and disks."""
    if every + latest + bool(containers) > 1:
        raise click.UsageError("--all, --latest and containers cannot be used together")
    if user.is_rootless() and not is_v2():
        raise ConfigError("stats is not supported in rootless mode without cgroups v2")
    from pyengine.containers.statistics import Usage

    before: dict[str, Usage] = {}
    first = True
    while True:
        found = _chosen(engine, containers, every=every, latest=latest, first=first)
        usages = [Usage(container, before.get(container.id)) for container in found]
        before = {usage.container.id: usage for usage in usages}
        if not no_reset and not no_stream and sys.stdout.isatty():
            click.echo(CLEAR, nl=False)
        for line in _lines(usages, form, first=first or not no_reset, no_trunc=no_trunc):
            click.echo(line)
        if no_stream:
            return
        first = False
        time.sleep(interval)


def _chosen(
    engine: Engine, names: tuple[str, ...], *, every: bool, latest: bool, first: bool
) -> list[Container]:
    """The containers as they are now; one that is gone since the first look is left out."""
    if latest:
        return [engine.containers.latest()]
    if not names:
        listed = engine.containers.every()
        return listed if every else [one for one in listed if one.running]
    found = []
    for name in names:
        try:
            found.append(engine.containers.find(name))
        except NotFoundError:
            if first:
                raise
    return found


def _lines(usages: list[Usage], form: str, *, first: bool, no_trunc: bool) -> list[str]:
    rows = [_fields(usage, no_trunc=no_trunc) for usage in usages]
    if is_json(form):
        import json

        shown = [{key: str(row[name]) for key, name in JSON_KEYS.items()} for row in rows]
        return [json.dumps(shown, indent=1)]
    if form:
        return fields.lines(form, rows, HEADINGS, heading=first, name="stats")
    cells = [[str(row[column]) for column in COLUMNS] for row in rows]
    return table(list(COLUMNS.values()) if first else None, cells)


def _fields(usage: Usage, *, no_trunc: bool) -> dict[str, Any]:
    id_ = usage.container.id
    memory, limit = usage.memory, usage.memory_limit
    return {
        "ID": id_ if no_trunc else id_[:SHORT_ID],
        "ContainerID": id_,
        "Name": usage.container.name,
        "CPU": usage.cpu,
        "CPUPerc": f"{usage.cpu:.2f}%",
        "AvgCPU": usage.average_cpu,
        "AVGCPU": f"{usage.average_cpu:.2f}%",
        "CPUNano": usage.cpu_ns,
        "Duration": usage.cpu_ns,
        "CPUSystemNano": usage.cpu_system_ns,
        "SystemNano": usage.at_ns,
        "PerCPU": usage.per_cpu,
        "Up": go_duration(usage.cpu_ns),
        "UpTime": go_duration(usage.cpu_ns),
        "MemUsage": f"{sizes.precise(memory)} / {sizes.precise(limit)}",
        "MemUsageBytes": f"{sizes.binary(memory)} / {sizes.binary(limit)}",
        "MemLimit": limit,
        "MemPerc": f"{usage.memory_percent:.2f}%",
        "NetInput": usage.received,
        "NetOutput": usage.sent,
        "NetIO": f"{sizes.precise(usage.received)} / {sizes.precise(usage.sent)}",
        "BlockInput": usage.block_read,
        "BlockOutput": usage.block_written,
        "BlockIO": f"{sizes.precise(usage.block_read)} / {sizes.precise(usage.block_written)}",
        "PIDs": usage.pids,
        "PIDS": usage.pids,
    }
