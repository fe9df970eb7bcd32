"""image tree, diff, mount and unmount, and import."""

from __future__ import annotations

import json
import os

import click

from pyengine.cli import sizes
from pyengine.cli.many import for_each
from pyengine.cli.report import is_json, progress, table
from pyengine.config import user
from pyengine.errors import ConfigError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine
    from pyengine.images.model import Image


@click.command()
@click.option("--whatrequires", is_flag=True, help="Also what is built on IMAGE.")
@click.argument("image")
@click.pass_obj
def tree(engine: Engine, /, image: str, whatrequires: bool) -> None:
    """Print the layers of IMAGE and which images end with them."""
    found = engine.images.resolve(image)
    click.echo(f"Image ID: {found.id[:12]}")
    click.echo(f"Tags:     [{' '.join(found.names)}]")
    click.echo(f"Size:     {sizes.precise(found.size)}")
    if not found.diff_ids:
        click.echo("No Image Layers")
        return
    every = engine.images.list_images()
    click.echo("Image Layers")
    if whatrequires:
        below = [one.diff_ids for one in every if one.diff_ids[: len(found.diff_ids)] ==
                 found.diff_ids]  # fmt: skip
        _print_branches(engine, _branches(below), every, "", ())
        return
    layer_sizes = engine.images.layer_sizes(found)
    for place, (diff_id, size) in enumerate(zip(found.diff_ids, layer_sizes, strict=True), 1):
        edge = "└──" if place == len(layer_sizes) else "├──"
        click.echo(f"{edge} {_layer(diff_id, size, found.diff_ids[:place], every)}")


def _branches(stacks: list[list[str]]) -> dict[str, list[list[str]]]:
    branches: dict[str, list[list[str]]] = {}
    for stack in stacks:
        if stack:
            branches.setdefault(stack[0], []).append(stack[1:])
    return branches


def _print_branches(
    engine: Engine,
    branches: dict[str, list[list[str]]],
    every: list[Image],
    indent: str,
    above: tuple[str, ...],
) -> None:
    known = {diff_id: size for image in every
             for diff_id, size in zip(image.diff_ids, engine.images.layer_sizes(image), strict=True)
             if diff_id in branches}  # fmt: skip
    for place, (diff_id, stacks) in enumerate(branches.items(), 1):
        last = place == len(branches)
        shown = _layer(diff_id, known[diff_id], [*above, diff_id], every)
        click.echo(f"{indent}{'└──' if last else '├──'} {shown}")
        deeper = indent + ("    " if last else "│   ")
        _print_branches(engine, _branches(stacks), every, deeper, (*above, diff_id))


def _layer(diff_id: str, size: int, stack: list[str], every: list[Image]) -> str:
    names = [name for image in every if image.diff_ids == stack for name in image.names]
    top = f" Top Layer of: [{' '.join(names)}]" if names else ""
    return f"ID: {diff_id[7:19]} Size: {sizes.precise(size):>7}{top}"


@click.command()
@click.option("--format", "form", type=click.Choice(["json"]), help="Print JSON.")
@click.argument("image")
@click.argument("other", metavar="[IMAGE]", required=False)
@click.pass_obj
def diff(engine: Engine, /, image: str, other: str | None, form: str | None) -> None:
    """Print what IMAGE's top layer changed, or how it differs from another image."""
    from pyengine.images import comparing

    second = engine.images.resolve(other) if other else None
    print_changes(comparing.compare(engine.storage, engine.images.resolve(image), second), form)


def print_changes(changes: list[tuple[str, str]], form: str | None) -> None:
    """A line for each, or lists of paths in JSON."""
    if form is None:
        for kind, path in sorted(changes):
            click.echo(f"{kind} {path}")
        return
    words = {"changed": "C", "added": "A", "deleted": "D"}
    listed = {word: [path for one, path in changes if one == kind] for word, kind in words.items()}
    click.echo(json.dumps({word: paths for word, paths in listed.items() if paths}, indent=5))


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Every image.")
@click.option("--format", "form", metavar="json", help="Print JSON.")
@click.argument("names", metavar="[IMAGE...]", nargs=-1)
@click.pass_obj
def mount(engine: Engine, /, names: tuple[str, ...], everything: bool, form: str | None) -> None:
    """Show IMAGEs' root file systems read-only and print where; without one, list them."""
    if form is not None and not is_json(form):
        raise click.UsageError(f"unsupported --format {form!r}: json is known")
    if everything and names:
        raise click.UsageError("when using the --all switch, you may not pass any image names")
    if user.is_rootless() and user.is_in_own_namespace() and (everything or names):
        raise ConfigError(
            "cannot run command `pyengine image mount` in rootless mode, must execute "
            "`pyengine unshare` first: only there the mount is seen"
        )
    mounts = engine.storage.image_mounts
    wanted = engine.images.list_images() if everything else list(map(engine.images.resolve, names))
    paths = {}
    for image in wanted:
        paths[image.id] = mounts.mount(image.id, image.diff_ids)
        engine.events.tell("image", "mount", id_=image.id, name=(image.names or [""])[0])
    if wanted and form is None:
        single = len(wanted) == 1 and not everything
        for image in wanted:
            path = paths[image.id]
            click.echo(path if single else f"{(image.names or [image.id[:12]])[0]}  {path}")
        return
    paths = mounts.mounted()
    shown = [(image, paths[image.id]) for image in engine.images.list_images() if image.id in paths]
    if form is not None:
        listed = [{"id": image.id, "Names": image.repo_digests, "Repositories": image.names,
                   "mountpoint": path} for image, path in shown]  # fmt: skip
        click.echo(json.dumps(listed, indent=1))
        return
    rows = [[(image.names or [image.id[:12]])[0], path] for image, path in shown]
    for line in table(None, rows):
        click.echo(line)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Every image.")
@click.option("-f", "--force", is_flag=True, help="An image that is not mounted is no error.")
@click.argument("names", metavar="[IMAGE...]", nargs=-1)
@click.pass_obj
def unmount(engine: Engine, /, names: tuple[str, ...], everything: bool, force: bool) -> None:
    """Take away what ``image mount`` shows."""
    if everything == bool(names):
        raise click.UsageError("give either the images' names or --all")
    mounts = engine.storage.image_mounts
    if everything:
        names = tuple(mounts.mounted())

    def take_away(name: str) -> str:
        image_id = name if everything else engine.images.resolve(name).id
        if not mounts.unmount(image_id) and not force:
            raise NotFoundError(f"image {image_id} is not mounted")
        engine.events.tell("image", "unmount", id_=image_id)
        return image_id

    for_each(names, take_away)


@click.command("import")
@click.option("--arch", metavar="ARCH", help="Architecture of the image.")
@click.option("-c", "--change", "instructions", multiple=True, metavar="INSTRUCTION",
              help="Such as CMD, ENV, USER with a value.")  # fmt: skip
@click.option("-m", "--message", default="", metavar="TEXT", help="Comment in the history.")
@click.option("--os", "system", metavar="OS", help="Operating system of the image.")
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.option("--variant", metavar="VARIANT", help="Of the architecture.")
@click.argument("path", metavar="PATH|URL|-")
@click.argument("name", metavar="[NAME]", required=False)
@click.pass_obj
def import_(
    engine: Engine,
    /,
    path: str,
    name: str | None,
    arch: str | None,
    instructions: tuple[str, ...],
    message: str,
    system: str | None,
    quiet: bool,
    variant: str | None,
) -> None:
    """Make an image of the archive of a root file system."""
    from pyengine.images import importing, manifests
    from pyengine.images.transports import tarfiles

    label = f"import {path}"
    staging = f"{engine.storage.root}/staging"
    source_fd = _open_source(path, staging)
    try:
        archive_fd = tarfiles.open_archive(source_fd, label, staging)
    finally:
        os.close(source_fd)
    try:
        image_id = importing.import_archive(
            engine.images,
            archive_fd,
            name,
            platform=manifests.platform_of(system, arch, variant),
            instructions=instructions,
            message=message,
            report=progress(quiet),
        )
    finally:
        os.close(archive_fd)
    click.echo(f"sha256:{image_id}")


def _open_source(path: str, staging: str) -> int:
    """A descriptor of a file, of standard input, or of what is downloaded."""
    if path == "-":
        if os.isatty(0):
            raise ConfigError("import: cannot read from terminal, use command-line redirection")
        return os.dup(0)
    if not path.startswith(("http://", "https://")):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    from pyengine.images.transports import tarfiles
    from pyengine.registry import session

    label = f"import {path}"
    fd = tarfiles.nameless_copy(session.download(path, label), staging, label)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
