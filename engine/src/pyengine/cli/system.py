"""Commands about pyengine itself."""

from __future__ import annotations

import platform

import click

from pyengine.version import VERSION


@click.command()
def version() -> None:
    """Display the pyengine version information."""
    rows = {
        "Version": VERSION,
        "API Version": VERSION,
        "Python Version": platform.python_version(),
        "OS/Arch": f"linux/{platform.machine()}",
    }
    for name, value in rows.items():
        click.echo(f"{name + ':':<16}{value}")
