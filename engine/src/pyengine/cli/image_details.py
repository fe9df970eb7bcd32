"""image inspect, history and save."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import click

from pyengine.cli import durations, fields, sizes
from pyengine.cli.report import is_json, progress, table
from pyengine.errors import NotFoundError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine
    from pyengine.images.describing import Step

CREATED_BY_WIDTH = 45
COLUMNS = ["ID", "Created", "CreatedBy", "Size", "Comment"]
HEADING = ["ID", "CREATED", "CREATED BY", "SIZE", "COMMENT"]


@click.command()
@fields.FORMAT.to_click()
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.pass_obj
def inspect(engine: Engine, /, names: tuple[str, ...], form: str) -> None:
    """Print everything about images as JSON."""
    from pyengine.images import describing

    found, missing = [], ""
    for name in names:
        try:
            found.append(describing.inspect(engine.images.resolve(name), engine.storage))
        except NotFoundError as error:
            missing = missing or str(error)
    fields.print_objects(form, found)
    if missing:
        raise NotFoundError(missing)


@click.command()
@click.option("--no-trunc", is_flag=True, help="Print whole ids and commands.")
@click.option("-q", "--quiet", is_flag=True, help="Print only ids.")
@click.option("--format", "form", default="table", metavar="FORMAT",
              help="table, json, or a Go template.")  # fmt: skip
@click.option("-H", "--human/--no-human", default=True, help="Print sizes and dates to read.")
@click.argument("image")
@click.pass_obj
def history(
    engine: Engine, /, image: str, no_trunc: bool, quiet: bool, form: str, human: bool
) -> None:
    """Print the steps that made IMAGE, the last one first."""
    from pyengine.images import describing

    found = engine.images.resolve(image)
    steps = describing.history(found, engine.images.layer_sizes(found))
    if is_json(form):
        click.echo(json.dumps([_as_json(step) for step in steps], indent=4))
        return
    rows = [_row(step, no_trunc=no_trunc, human=human) for step in steps]
    if quiet:
        shown = [row[0] for row in rows]
    elif form == "table":
        shown = table(HEADING, rows)
    else:
        named = [_fields(step, row) for step, row in zip(steps, rows, strict=True)]
        headings = dict(zip(COLUMNS, HEADING, strict=True))
        shown = fields.lines(form, named, headings, heading=True, name="history")
    for line in shown:
        click.echo(line)


def _as_json(step: Step) -> dict[str, object]:
    return {
        "id": step.image_id or "<missing>",
        "created": durations.rfc3339(step.created_at),
        "createdBy": step.created_by,
        "size": step.size,
        "comment": step.comment,
    }


def _fields(step: Step, row: list[str]) -> dict[str, object]:
    """The columns as they are shown, and podman's other fields."""
    at = durations.rfc3339(step.created_at)
    return {**dict(zip(COLUMNS, row, strict=True)), "CreatedAt": at, "CreatedSince": row[1]}


def _row(step: Step, *, no_trunc: bool, human: bool) -> list[str]:
    id_, command = step.image_id or "<missing>", step.created_by
    if not no_trunc:
        id_ = step.image_id[:12] or id_
        if len(command) > CREATED_BY_WIDTH:
            command = f"{command[: CREATED_BY_WIDTH - 3]}..."
    if not human:
        at = durations.rfc3339(step.created_at)
        return [id_, at, command, str(step.size), step.comment]
    since = f"{durations.human(time.time() - step.created_at)} ago"
    return [id_, since, command, sizes.human(step.size), step.comment]


@click.command()
@click.option("-o", "--output", "path", metavar="FILE", help="Write this file, not stdout.")
@click.option("--format", "form", default="docker-archive",
              type=click.Choice(["docker-archive", "docker-dir", "oci-archive", "oci-dir"]),
              help="Kind of archive or directory.")  # fmt: skip
@click.option("--compress", is_flag=True, help="Compress the layers of a docker-dir.")
@click.option("--uncompressed", is_flag=True, help="Leave uncompressed layers so in an oci-dir.")
@click.option(
    "-m",
    "--multi-image-archive",
    "several",
    is_flag=True,
    help="Each name is an image (default).",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.pass_obj
def save(
    engine: Engine,
    /,
    names: tuple[str, ...],
    path: str | None,
    form: str,
    compress: bool,
    uncompressed: bool,
    several: bool,  # noqa: ARG001 - says what is so anyway: no name is taken for a mere tag
    quiet: bool,
) -> None:
    """Write images to an archive."""
    from pyengine.images import saving

    if compress and form != "docker-dir":
        raise click.UsageError("--compress can only be set when --format is 'docker-dir'")
    if form.endswith("-dir"):
        _save_directory(engine, names, path, form, compress, uncompressed, quiet)
        return
    if path is None and os.isatty(1):
        raise click.UsageError("refusing to save to terminal. Use -o flag or redirect")
    if path is None:
        saving.save(engine.images, list(names), form, sys.stdout.buffer, progress(quiet))
        return
    try:
        output = open(path, "wb", buffering=0)  # what is buffered would fail once more at its end
    except OSError as error:
        raise StorageError(f"save {path}: {error.strerror}") from error
    try:
        with output:
            saving.save(engine.images, list(names), form, output, progress(quiet))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            if os.path.isfile(path):
                os.unlink(path)
        raise


def _save_directory(
    engine: Engine,
    names: tuple[str, ...],
    path: str | None,
    form: str,
    compress: bool,
    uncompressed: bool,
    quiet: bool,
) -> None:
    from pyengine.images import pushing
    from pyengine.images.copying import CopyOptions
    from pyengine.registry.settings import Access

    if path is None or len(names) != 1:
        raise click.UsageError(f"--format {form} takes one image and a directory with --output")
    options = CopyOptions(
        form="oci" if form == "oci-dir" else "v2s2",
        compression="gzip" if compress else None,
        remove_signatures=True,  # as podman does: a saved image is often changed
    )
    place = f"oci:{path}:{names[0]}" if form == "oci-dir" else f"dir:{path}"
    options.keep_uncompressed = uncompressed
    pushing.push(engine.images, names[0], place, options, Access(), progress(quiet))
