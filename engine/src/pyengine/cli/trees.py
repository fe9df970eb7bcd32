"""diff, commit, export, mount and unmount: the root file systems of containers."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import click

from pyengine.cli.image_trees import print_changes
from pyengine.cli.many import for_each
from pyengine.cli.report import is_json, progress, table
from pyengine.config import user
from pyengine.errors import ConfigError, NotFoundError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO, Any

    from pyengine.engine import Engine

SHORT_ID = 12


@click.command()
@click.option("--format", "form", type=click.Choice(["json"]), help="Print JSON.")
@click.option("-l", "--latest", is_flag=True, help="The container that was created last.")
@click.argument("name", metavar="[CONTAINER|IMAGE]", required=False)
@click.argument("other", metavar="[IMAGE]", required=False)
@click.pass_obj
def diff(
    engine: Engine, /, name: str | None, other: str | None, form: str | None, latest: bool
) -> None:
    """Print what a container changed, or how images differ."""
    if latest == bool(name):
        raise click.UsageError("give one container or image, or --latest")
    wanted = engine.containers.latest().id if latest else name or ""
    try:
        container = None if other else engine.containers.find(wanted)
    except NotFoundError:
        container = None
    if container is not None:
        print_changes(engine.observing.changes(container.id), form)
        return
    from pyengine.images import comparing

    try:
        image = engine.images.resolve(wanted)
    except NotFoundError:
        raise NotFoundError(f"{wanted}: no such container and no such image") from None
    second = engine.images.resolve(other) if other else None
    print_changes(comparing.compare(engine.storage, image, second), form)


@click.command()
@click.option("-a", "--author", default="", metavar="NAME", help="Author of the image.")
@click.option(
    "-c",
    "--change",
    multiple=True,
    metavar="INSTRUCTION",
    help="CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or"
    " WORKDIR with a value.",
)
@click.option("--config", metavar="FILE", help="JSON to merge into the image's configuration.")
@click.option(
    "-f",
    "--format",
    "form",
    default="oci",
    show_default=True,
    metavar="FORMAT",
    help="Format of manifest and configuration: oci or docker.",
)
@click.option("--iidfile", metavar="FILE", help="Write the image's id to FILE.")
@click.option("--include-volumes", is_flag=True, help="The container's volumes become the image's.")
@click.option("-m", "--message", default="", metavar="TEXT", help="Comment; docker format only.")
@click.option("-p", "--pause", is_flag=True, help="Pause the container meanwhile.")
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.option("-s", "--squash", is_flag=True, help="One layer with everything.")
@click.argument("container")
@click.argument("name", metavar="[IMAGE]", required=False)
@click.pass_obj
def commit(
    engine: Engine,
    /,
    container: str,
    name: str | None,
    author: str,
    change: tuple[str, ...],
    config: str | None,
    form: str,
    iidfile: str | None,
    include_volumes: bool,
    message: str,
    pause: bool,
    quiet: bool,
    squash: bool,
) -> None:  # fmt: skip
    """Make an image of a container's root file system."""
    from pyengine.containers.committing import CommitOptions

    merged = _settings(config) if config else None
    options = CommitOptions(author=author, change=change, config=merged, form=form,
                            message=message, pause=pause, include_volumes=include_volumes,
                            squash=squash)  # fmt: skip
    image_id = engine.observing.commit(engine.images, container, name, options, progress(quiet))
    if iidfile:
        try:
            with open(iidfile, "w", encoding="utf-8") as file:
                file.write(image_id)
        except OSError as error:
            raise ConfigError(f"--iidfile {iidfile}: {error.strerror}") from error
    click.echo(image_id)


def _settings(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"--config {path}: not an object")
    return found


@click.command()
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
@click.argument("container")
@click.pass_obj
def export(engine: Engine, /, container: str, output: str | None) -> None:
    """Write a container's root file system as a tar."""
    if output is None and sys.stdout.isatty():
        raise click.UsageError("refusing to export to terminal. Use -o flag or redirect")
    chunks = engine.observing.export(container)
    if output is None:
        _copy(chunks, sys.stdout.buffer)
        return
    engine.containers.find(container)  # before the file is made
    try:
        file = open(output, "wb")
    except OSError as error:
        raise StorageError(f"export {container}: open {output}: {error.strerror}") from error
    try:
        with file:
            _copy(chunks, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            if os.path.isfile(output):
                os.unlink(output)
        raise


def _copy(chunks: Iterable[bytes], file: IO[bytes]) -> None:
    for chunk in chunks:
        file.write(chunk)
    file.flush()


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="All containers.")
@click.option("--format", "form", metavar="json", help="Print JSON.")
@click.option("-l", "--latest", is_flag=True, help="The container that was created last.")
@click.option("--no-trunc", "--notruncate", is_flag=True, help="Print whole ids.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def mount(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    every: bool,
    form: str | None,
    latest: bool,
    no_trunc: bool,
) -> None:
    """Show containers' root file systems on the host, or list what can be seen."""
    if every + latest + bool(containers) > 1:
        raise click.UsageError("--all, --latest and containers cannot be used together")
    if form is not None and not is_json(form):
        raise click.UsageError(f"unsupported --format {form!r}: json is known")
    if user.is_rootless() and user.is_in_own_namespace() and (every or latest or containers):
        raise ConfigError(
            "cannot run command `pyengine mount` in rootless mode, must execute `pyengine unshare`"
            " first: only there the mount is seen"
        )
    if latest:
        containers = (engine.containers.latest().id,)
    if containers and form is None:
        single = len(containers) == 1
        for_each(containers, lambda name: _mount(engine, name, single=single))
        return
    for one in engine.containers.every() if every else map(engine.containers.find, containers):
        engine.observing.mount(one.id)
    shown = engine.observing.mounted()
    if form is not None:
        listed = [{"id": one.id, "Names": [one.name], "mountpoint": path} for one, path in shown]
        click.echo(json.dumps(listed, indent=1))
        return
    for line in table(None, [[one.id if no_trunc else one.id[:SHORT_ID], path]
                             for one, path in shown]):  # fmt: skip
        click.echo(line)


def _mount(engine: Engine, name: str, *, single: bool) -> str:
    path = engine.observing.mount(name)
    return path if single else f"{name} {path}"


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="All mounted containers.")
@click.option("-f", "--force", is_flag=True, help="One that is not mounted is no error.")
@click.option("-l", "--latest", is_flag=True, help="The container that was created last.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def unmount(
    engine: Engine, /, containers: tuple[str, ...], every: bool, force: bool, latest: bool
) -> None:
    """Take away what mount shows."""
    if every + latest + bool(containers) != 1:
        raise click.UsageError("give containers, --latest or --all")
    if latest:
        containers = (engine.containers.latest().id,)
    if every:
        containers = tuple(one.id for one, _ in engine.observing.mounted(by_user=True))

    def take_away(name: str) -> str:
        engine.observing.unmount(name, force=force or every)
        return name

    for_each(containers, take_away)
