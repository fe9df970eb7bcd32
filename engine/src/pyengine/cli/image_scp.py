"""image scp: images between users and machines."""

from __future__ import annotations

import click

from pyengine.cli.report import progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine


@click.command()
@click.option("--format", "form", type=click.Choice(["docker-archive", "oci-archive"]),
              default="docker-archive", help="Of the archive on the way.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.argument("source", metavar="[[USER@]HOST::]IMAGE")
@click.argument("destination", metavar="[[USER@]HOST::]", required=False)
@click.pass_obj
def scp(engine: Engine, /, source: str, destination: str | None, form: str, quiet: bool) -> None:
    """Copy an image to or from another user of this machine, or another machine over ssh."""
    from pyengine.images import transferring

    known = engine.config.get("engine", {}).get("service_destinations") or {}
    here = transferring.end(source, known)
    if destination is None and "::" not in source:
        raise click.UsageError("give a destination, such as HOST::, or a source on another host")
    there = transferring.end(destination or "localhost::", known)
    for name in transferring.transfer(engine.images, here, there, form, progress(quiet)):
        click.echo(f"Loaded image: {name}")
