"""system df: what images, containers and volumes occupy."""

from __future__ import annotations

import json
import time

import click

from pyengine.cli import durations, fields, sizes
from pyengine.cli.container_rows import status
from pyengine.cli.report import is_json, table
from pyengine.storage.usage import tree_bytes, written_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.record import Container
    from pyengine.engine import Engine

HEADINGS = {"Type": "TYPE", "Total": "TOTAL", "Active": "ACTIVE", "Size": "SIZE",
            "Reclaimable": "RECLAIMABLE"}  # fmt: skip


@click.command()
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a Go template.")
@click.option("-v", "--verbose", is_flag=True, help="A line for each object.")
@click.pass_obj
def df(engine: Engine, /, form: str, verbose: bool) -> None:
    """Show what images, containers and volumes occupy."""
    if form and verbose:
        raise click.UsageError("cannot combine --format and --verbose flags")
    containers = engine.containers.every()
    if verbose:
        _print_each(engine, containers)
        return
    rows = [_images(engine, containers), _containers(engine, containers), _volumes(engine)]
    if is_json(form):
        click.echo(json.dumps(rows, indent=4))
        return
    shown = [{**row, "Size": sizes.precise(row["Size"]),
              "Reclaimable": _share(row["Reclaimable"], row["Size"])} for row in rows]  # fmt: skip
    if form:
        lines = fields.lines(form, shown, HEADINGS, heading=True, name="df")
    else:
        cells = [[str(row[key]) for key in HEADINGS] for row in shown]
        lines = table(list(HEADINGS.values()), cells)
    for line in lines:
        click.echo(line)


def _share(part: int, whole: int) -> str:
    return f"{sizes.precise(part)} ({round(100 * part / whole) if whole else 0}%)"


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    return {"Type": kind, "Total": total, "Active": active, "Size": size,
            "Reclaimable": reclaimable}  # fmt: skip


def _images(engine: Engine, containers: list[Container]) -> dict[str, Any]:
    """Each layer counts once; what no container's image needs can be had back."""
    every = engine.images.list_images()
    used = {container.image_id for container in containers}
    known: dict[str, int] = {}
    needed: set[str] = set()
    for image in every:
        known |= dict(zip(image.diff_ids, engine.images.layer_sizes(image), strict=True))
        needed |= set(image.diff_ids) if image.id in used else set()
    size = sum(known.values())
    active = sum(image.id in used for image in every)
    free = sum(known[diff_id] for diff_id in known.keys() - needed)
    return _row("Images", len(every), active, size, free)


def _containers(engine: Engine, containers: list[Container]) -> dict[str, Any]:
    by_id = {container.id: _written(engine, container) for container in containers}
    idle = [by_id[container.id] for container in containers if not container.running]
    active = len(containers) - len(idle)
    return _row("Containers", len(containers), active, sum(by_id.values()), sum(idle))


def _volumes(engine: Engine) -> dict[str, Any]:
    rows = _volume_rows(engine)
    size = sum(one for _, _, one in rows)
    active = sum(links > 0 for _, links, _ in rows)
    return _row("Local Volumes", len(rows), active, size,
                sum(one for _, links, one in rows if not links))  # fmt: skip


def _written(engine: Engine, container: Container) -> int:
    """Bytes in what the container changed."""
    return written_bytes(engine.storage.container_directory(container.id))


def _volume_rows(engine: Engine) -> list[tuple[str, int, int]]:
    """Name, containers and bytes of each volume."""
    from pyengine.volumes.directories import volume_path

    with engine.database.read() as connection:
        rows = connection.execute(
            "SELECT name, (SELECT count(*) FROM container_volumes WHERE volume = name)"
            " FROM volumes ORDER BY name"
        ).fetchall()
    return [(name, links, tree_bytes(volume_path(engine.root, name))) for name, links in rows]


def _print_each(engine: Engine, containers: list[Container]) -> None:
    click.echo("Images space usage:\n")
    header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE",
              "CONTAINERS"]  # fmt: skip
    for line in table(header, _image_lines(engine, containers)):
        click.echo(line)
    click.echo("\nContainers space usage:\n")
    header = ["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS",
              "NAMES"]  # fmt: skip
    rows = []
    for one in containers:
        volumes = sum(bool(volume["name"]) for volume in one.config["volumes"])
        command = " ".join(one.config["command"] or one.config["entrypoint"])
        rows.append([one.id[:12], one.image_name, command, str(volumes),
                     sizes.precise(_written(engine, one)), _age(one.created_at), status(one),
                     one.name])  # fmt: skip
    for line in table(header, rows):
        click.echo(line)
    click.echo("\nLocal Volumes space usage:\n")
    volumes_rows = [[name, str(links), sizes.precise(size)]
                    for name, links, size in _volume_rows(engine)]  # fmt: skip
    for line in table(["VOLUME NAME", "LINKS", "SIZE"], volumes_rows):
        click.echo(line)


def _image_lines(engine: Engine, containers: list[Container]) -> list[list[str]]:
    every = engine.images.list_images()
    counts: dict[str, int] = {}
    for image in every:
        for diff_id in set(image.diff_ids):
            counts[diff_id] = counts.get(diff_id, 0) + 1
    rows = []
    for image in every:
        layer_sizes = dict(zip(image.diff_ids, engine.images.layer_sizes(image), strict=True))
        shared = sum(size for diff_id, size in layer_sizes.items() if counts[diff_id] > 1)
        users = sum(container.image_id == image.id for container in containers)
        for name in image.names or ["<none>:<none>"]:
            repository, _, tag = name.rpartition(":")
            rows.append([repository, tag, image.id[:12], _age(image.created_at),
                         sizes.precise(image.size), sizes.precise(shared),
                         sizes.precise(image.size - shared), str(users)])  # fmt: skip
    return rows


def _age(at: float) -> str:
    return durations.human(time.time() - at)
