"""Commands about pyengine itself."""

from __future__ import annotations

import platform

import click

from pyengine.version import VERSION


@click.command()
@click.option("-f", "--format", "form", default="", metavar="FORMAT",
              help="json, or a Go template.")  # fmt: skip
def version(form: str) -> None:
    """Display the pyengine version information."""
    rows = {
        "Version": VERSION,
        "API Version": VERSION,
        "Python Version": platform.python_version(),
        "OS/Arch": f"linux/{platform.machine()}",
    }
    if form:
        _print_formatted(form, rows)
        return
    for name, value in rows.items():
        click.echo(f"{name + ':':<16}{value}")


def _print_formatted(form: str, rows: dict[str, str]) -> None:
    """Below ``Client``, under podman's names."""
    import json

    from pyengine.cli import fields
    from pyengine.cli.report import is_json

    client = {key.replace("OS/Arch", "OsArch").replace(" ", ""): rows[key] for key in rows}
    if is_json(form):
        click.echo(json.dumps({"Client": client}, indent=2))
    else:
        click.echo(fields.render(form, {"Client": client, **client}, "version"))
