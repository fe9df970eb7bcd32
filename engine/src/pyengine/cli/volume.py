"""volume create, ls, inspect, rm, prune, exists, import, export, mount, unmount and reload."""

from __future__ import annotations

import json
import os
import sys

import click

from pyengine.cli import fields
from pyengine.cli.durations import rfc3339
from pyengine.cli.image_filters import moment
from pyengine.cli.many import for_each
from pyengine.cli.report import is_json, table
from pyengine.errors import ConfigError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine
    from pyengine.volumes.model import Volume

HEADINGS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}
# What podman leaves out of the JSON where it is empty.
_LEFT_OUT = ("UID", "GID", "Anonymous", "NeedsCopyUp", "NeedsChown")
NAMES = click.argument("volumes", nargs=-1, metavar="VOLUME [VOLUME...]")
FILTER = click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE",
                      help="Only volumes that fit, such as dangling=true.")  # fmt: skip


@click.command()
@click.option("-d", "--driver", default="local", show_default=True, metavar="NAME",
              help="Who keeps the volume.")  # fmt: skip
@click.option("--gid", type=click.IntRange(0), metavar="GID", help="Group of its directory.")
@click.option("--ignore", is_flag=True, help="That it exists already is no error.")
@click.option("-l", "--label", "labels", multiple=True, metavar="NAME[=VALUE]", help="Set a label.")
@click.option("-o", "--opt", "options", multiple=True, metavar="NAME=VALUE",
              help="An option of the driver: type, device, o, nocopy.")  # fmt: skip
@click.option("--uid", type=click.IntRange(0), metavar="UID", help="Owner of its directory.")
@click.argument("names", nargs=-1, metavar="[NAME]")
@click.pass_obj
def create(
    engine: Engine,
    /,
    names: tuple[str, ...],
    driver: str,
    gid: int | None,
    ignore: bool,
    labels: tuple[str, ...],
    options: tuple[str, ...],
    uid: int | None,
) -> None:
    """Create a volume and print its name."""
    if len(names) > 1:
        raise click.ClickException(f"accepts at most 1 arg(s), received {len(names)}")
    found = engine.volumes.create(
        "".join(names), driver=driver, labels=pairs(labels), options=pairs(options),
        ignore=ignore, owner=(uid, gid),
    )  # fmt: skip
    click.echo(found)


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` of labels and options."""
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


@click.command()
@FILTER
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a Go template.")
@click.option("-n", "--noheading", is_flag=True, help="Print no header.")
@click.option("-q", "--quiet", is_flag=True, help="Print names only.")
@click.argument("words", nargs=-1, metavar="")
@click.pass_obj
def list_(
    engine: Engine,
    /,
    words: tuple[str, ...],
    filters: tuple[str, ...],
    form: str,
    noheading: bool,
    quiet: bool,
) -> None:
    """List volumes."""
    if words:
        raise click.ClickException("`pyengine volume ls` takes no arguments")
    if quiet and form:
        raise click.ClickException("quiet and format flags cannot be used together")
    found = _chosen(engine, filters)
    if quiet:
        for volume in found:
            click.echo(volume.name)
        return
    shown = [_fields(engine, volume) for volume in found]
    if is_json(form):
        click.echo(json.dumps([_as_json(one) for one in shown], indent=2))
        return
    if form:
        lines = fields.lines(form, shown, HEADINGS, heading=not noheading, name="list")
    else:
        header = None if noheading or not shown else list(HEADINGS.values())
        lines = table(header, [[one["Driver"], one["Name"]] for one in shown])
    for line in lines:
        click.echo(line)


def _chosen(engine: Engine, filters: tuple[str, ...], *, prune: bool = False) -> list[Volume]:
    from pyengine.volumes import filters as volume_filters

    keys = volume_filters.PRUNE_KEYS if prune else volume_filters.KEYS
    tests = volume_filters.tests(engine.volumes, filters, moment, keys)
    return [one for one in engine.volumes.every() if all(test(one) for test in tests)]


def _fields(engine: Engine, volume: Volume) -> dict[str, Any]:
    return engine.volumes.inspect(volume, rfc3339(volume.created_at))


def _as_json(shown: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if value or key not in _LEFT_OUT}


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Every volume.")
@fields.FORMAT.to_click()
@NAMES
@click.pass_obj
def inspect(engine: Engine, /, volumes: tuple[str, ...], everything: bool, form: str) -> None:
    """Print everything about one or more volumes as JSON."""
    if everything == bool(volumes):
        raise click.ClickException("provide one or more volume names or use --all")
    found: list[Volume] = engine.volumes.every() if everything else []
    missing = ""
    for name in volumes:
        try:
            found.append(engine.volumes.find(name))
        except NotFoundError:
            missing = missing or name
    shown = [_fields(engine, volume) for volume in found]
    if form and not is_json(form):
        for line in fields.lines(form, shown, {}, heading=False):
            click.echo(line)
    else:
        listed = [_as_json(one) for one in shown]
        click.echo(json.dumps(listed, indent=5) if listed else "[]")
    if missing:
        raise NotFoundError(f"inspecting object: no such volume {missing}")


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Every volume.")
@click.option("-f", "--force", is_flag=True, help="Remove the containers that use it, too.")
@click.option("-t", "--time", "timeout_s", type=click.IntRange(-1), metavar="SECONDS",
              help="With --force: time for a container to end before it is killed.")  # fmt: skip
@NAMES
@click.pass_obj
def remove_volumes(
    engine: Engine, /, volumes: tuple[str, ...], everything: bool, force: bool,
    timeout_s: int | None,
) -> None:  # fmt: skip
    """Remove one or more volumes with their content."""
    if everything == bool(volumes):
        raise click.ClickException("choose either one or more volumes or all")
    if timeout_s is not None and not force:
        raise click.ClickException("--force option must be specified to use the --time option")

    def remove_one(name: str) -> str | None:
        try:
            engine.volumes.remove(name, force=force, timeout_s=timeout_s)
        except NotFoundError:
            if not force:
                raise
            return None
        return name

    for_each([one.name for one in engine.volumes.every()] if everything else volumes, remove_one)


@click.command()
@click.option("-a", "--all", "_everything", is_flag=True,
              help="Named ones too, which go in any case.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print what would be removed.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE",
              help="Only volumes that fit, such as label=K=V or until=24h.")  # fmt: skip
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(
    engine: Engine, /, filters: tuple[str, ...], dry_run: bool, force: bool, _everything: bool
) -> None:
    """Remove every volume that no container has."""
    used = engine.volumes.users()
    names = [one.name for one in _chosen(engine, filters, prune=True) if one.name not in used]
    if dry_run:
        click.echo("".join(f"{name}\n" for name in names), nl=False)
        return
    if not force:
        click.echo(
            "WARNING! This will remove all volumes not used by at least one container. The"
            " following volumes will be removed:"
        )
        for name in names:
            click.echo(name)
        if not agreed():
            return
    for name in engine.volumes.prune(names):
        click.echo(name)


def agreed() -> bool:
    """Ask whether to go on.

    Raises:
        ConfigError: there is nobody to answer.
    """
    click.echo("Are you sure you want to continue? [y/N] ", nl=False)
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise ConfigError("EOF: nobody answers: use --force")
    return answer.strip().lower() == "y"


@click.command()
@click.argument("volume")
@click.pass_obj
def exists(engine: Engine, /, volume: str) -> int:
    """Say by the exit status whether a volume exists: 0, or 1 if not."""
    return 0 if engine.volumes.exists(volume) else 1


@click.command()
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.argument("volume")
@click.pass_obj
def export(engine: Engine, /, volume: str, output: str | None) -> None:
    """Write a volume's content as a tar."""
    from pyengine.volumes import contents

    found = _named(engine, volume)
    if output in (None, "/dev/stdout"):
        if os.isatty(1):
            raise ConfigError("cannot write to a terminal: redirect it, or use --output")
        contents.export(engine.volumes, found, 1)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        fd = os.open(str(output), flags, 0o644)
    except OSError as error:
        raise ConfigError(f"unable to create export file: open {output}: {error.strerror}") from (
            error
        )
    try:
        contents.export(engine.volumes, found, fd)
    finally:
        os.close(fd)


def _named(engine: Engine, name: str) -> Volume:
    try:
        return engine.volumes.find(name)
    except NotFoundError as error:
        raise NotFoundError(f"no such volume {name}") from error


@click.command()
@click.argument("volume")
@click.argument("source", required=False, metavar="[SOURCE]")
@click.pass_obj
def import_(engine: Engine, /, volume: str, source: str | None) -> None:
    """Add the content of a tar, compressed or not, to a volume; ``-`` is standard input."""
    from pyengine.volumes import contents

    if source is None:
        raise click.ClickException("accepts 2 arg(s), received 1")
    found = _named(engine, volume)
    if source == "-":
        contents.import_(engine.volumes, found, 0)
        return
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"open {source}: {error.strerror}") from error
    try:
        contents.import_(engine.volumes, found, fd)
    finally:
        os.close(fd)


@click.command()
@NAMES
@click.pass_obj
def mount(engine: Engine, /, volumes: tuple[str, ...]) -> None:
    """Show volumes' content on the host, and print where."""
    if not volumes:
        raise click.ClickException("requires at least 1 arg(s), only received 0")
    for_each(volumes, engine.volumes.mount)


@click.command()
@NAMES
@click.pass_obj
def unmount(engine: Engine, /, volumes: tuple[str, ...]) -> None:
    """Take one mount of each volume back."""
    if not volumes:
        raise click.ClickException("requires at least 1 arg(s), only received 0")
    for_each(volumes, engine.volumes.unmount)


@click.command()
@click.pass_obj
def reload(engine: Engine, /) -> None:
    """Take over the volumes of volume plugins; there is no support for plugins, so see to it."""
    plugins = engine.config.get("engine", {}).get("volume_plugins") or {}
    if plugins:
        raise ConfigError(
            f"containers.conf: volume_plugins: {', '.join(plugins)}: this version has the driver"
            " local only: remove the entry"
        )
