"""manifest: lists of images for several platforms."""

from __future__ import annotations

import json

import click

from pyengine.cli import access, signing
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.cli.many import for_each
from pyengine.cli.push import write_digest
from pyengine.cli.report import progress
from pyengine.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.engine import Engine
    from pyengine.images.lists import Lists

    Function = Callable[..., Any]


def _lists(engine: Engine) -> Lists:
    from pyengine.images.lists import Lists

    return Lists(engine.images)


def _platform_options(function: Function) -> Function:
    options = (
        click.option("--annotation", "annotations", multiple=True, metavar="KEY=VALUE",
                     help="Annotate the image."),
        click.option("--arch", "architecture", metavar="ARCH", help="Its architecture."),
        click.option("--features", multiple=True, metavar="TEXT", help="Its features."),
        click.option("--os", "system", metavar="OS", help="Its operating system."),
        click.option("--os-features", multiple=True, metavar="TEXT", help="Features of its OS."),
        click.option("--os-version", metavar="TEXT", help="Version of its OS."),
        click.option("--variant", metavar="VARIANT", help="Of the architecture."),
    )  # fmt: skip
    for one in reversed(options):
        function = one(function)
    return function


_ARTIFACT_KEYS = ("config", "config_type", "exclude_titles", "kind", "layer_type", "subject")


def _artifact_options(function: Function) -> Function:
    options = (
        click.option("--artifact", is_flag=True, help="Make an artifact of files and add it."),
        click.option("--artifact-config", "config", default="", metavar="FILE",
                     help="The artifact's config."),
        click.option("--artifact-config-type", "config_type", default="", metavar="TYPE",
                     help="Media type of the config."),
        click.option("--artifact-exclude-titles", "exclude_titles", is_flag=True,
                     help="Do not say how the files are called."),
        click.option("--artifact-layer-type", "layer_type", default="", metavar="TYPE",
                     help="Media type of the files."),
        click.option("--artifact-subject", "subject", metavar="IMAGE",
                     help="The image that the artifact belongs to."),
        click.option("--artifact-type", "kind", default="", metavar="TYPE",
                     help="Type of the artifact."),
    )  # fmt: skip
    for one in reversed(options):
        function = one(function)
    return function


def _changes(values: dict[str, Any]) -> dict[str, Any]:
    """Take the platform's options out of ``values``, under the index' keys."""
    names = {"system": "os", "os_version": "os.version", "os_features": "os.features"}
    keys = ("annotations", "architecture", "features", "system", "os_features", "os_version",
            "variant")  # fmt: skip
    return {names.get(key, key): values.pop(key) for key in keys}


@click.command(cls=GoFlagsCommand)
@access.options
@click.option("--all", "everything", is_flag=True, help="All images of lists that are added.")
@click.option("-a", "--amend", is_flag=True, help="An existing list of this name is fine.")
@click.option("--annotation", "annotations", multiple=True, metavar="KEY=VALUE",
              help="Annotate the list itself.")  # fmt: skip
@click.argument("name", metavar="LIST")
@click.argument("images", metavar="[IMAGE...]", nargs=-1)
@click.pass_obj
def create(
    engine: Engine,
    /,
    name: str,
    images: tuple[str, ...],
    everything: bool,
    amend: bool,
    annotations: tuple[str, ...],
    **given: Any,
) -> None:
    """Make the list LIST of IMAGEs."""
    lists = _lists(engine)
    reached = access.make(**given)
    full = lists.create(name, amend=amend)
    try:
        for image in images:
            lists.add(full, image, reached, {}, everything=everything)
        if annotations:
            lists.annotate_list(full, annotations)
    except BaseException:
        if not amend:
            lists.remove(full)
        raise
    click.echo(lists.id_of(full))


@click.command(cls=GoFlagsCommand)
@access.options
@_platform_options
@_artifact_options
@click.option("--all", "everything", is_flag=True, help="All images, if IMAGE is a list.")
@click.argument("name", metavar="LIST")
@click.argument("images", metavar="IMAGE|FILE...", nargs=-1, required=True)
@click.pass_obj
def add(
    engine: Engine,
    /,
    name: str,
    images: tuple[str, ...],
    artifact: bool,
    everything: bool,
    **values: Any,
) -> None:
    """Add IMAGEs to LIST, or one artifact made of FILEs."""
    lists = _lists(engine)
    full, changes = lists.find(name), _changes(values)
    said = {key: values.pop(key) for key in _ARTIFACT_KEYS}
    reached = access.make(**values)
    if artifact:
        from pyengine.images.artifacts import ArtifactOptions

        titles, subject = not said.pop("exclude_titles"), said.pop("subject")
        options = ArtifactOptions(**said, titles=titles)
        lists.add_artifact(full, images, options, subject, reached, changes)
        click.echo(lists.id_of(full))
        return
    if any(said.values()):
        raise click.UsageError("--artifact-... options need --artifact")
    for image in images:
        lists.add(full, image, reached, changes, everything=everything)
    click.echo(lists.id_of(full))


@click.command()
@_platform_options
@click.option("--index", "whole", is_flag=True, help="Annotate the list itself.")
@click.option("--subject", metavar="IMAGE", help="What the list refers to, with --index.")
@click.argument("name", metavar="LIST")
@click.argument("image", required=False)
@click.pass_obj
def annotate(
    engine: Engine,
    /,
    name: str,
    image: str | None,
    whole: bool,
    subject: str | None,
    **values: Any,
) -> None:
    """Change what LIST says of IMAGE, or with --index of itself."""
    lists = _lists(engine)
    full, changes = lists.find(name), _changes(values)
    if whole:
        if image or any(value for key, value in changes.items() if key != "annotations"):
            raise click.UsageError("--index takes no image and only --annotation and --subject")
        lists.annotate_list(full, changes["annotations"], subject)
    elif image is None or subject:
        raise click.UsageError("give an image, or --index, which --subject is for")
    else:
        lists.annotate(full, image, changes)
    click.echo(lists.id_of(full))


@click.command(cls=GoFlagsCommand)
@access.options
@click.argument("name", metavar="LIST")
@click.pass_obj
def inspect(engine: Engine, /, name: str, **given: Any) -> None:
    """Print LIST, or the list of this name in a registry."""
    lists = _lists(engine)
    try:
        index = lists.index(lists.find(name))
    except NotFoundError:
        from pyengine.images.transports import names, opening

        place = names.parse(name) if names.is_place(name) else names.Place("docker", name)
        settings = opening.Settings(access=access.make(**given), images=engine.images)
        source = opening.open_source(place, settings)
        try:
            index = json.loads(source.manifest()[0])
        finally:
            source.close()
    click.echo(json.dumps(index, indent=4))


@click.command()
@click.argument("name", metavar="LIST")
@click.pass_obj
def exists(engine: Engine, /, name: str) -> int:
    """Exit with 0 if LIST is there and with 1 if it is not."""
    try:
        _lists(engine).find(name)
    except NotFoundError:
        return 1
    return 0


@click.command()
@click.argument("name", metavar="LIST")
@click.argument("image")
@click.pass_obj
def remove(engine: Engine, /, name: str, image: str) -> None:
    """Take IMAGE, a digest or what was added, from LIST."""
    lists = _lists(engine)
    full = lists.find(name)
    lists.take_out(full, image)
    click.echo(lists.id_of(full))


@click.command("rm")
@click.option("-i", "--ignore", is_flag=True, help="A list that does not exist is no error.")
@click.argument("names", metavar="LIST...", nargs=-1, required=True)
@click.pass_obj
def rm_list(engine: Engine, /, names: tuple[str, ...], ignore: bool) -> None:
    """Remove LISTs."""
    lists = _lists(engine)

    def remove_one(name: str) -> str | None:
        full = lists.find_or_none(name) if ignore else lists.find(name)
        if full is None:
            return None
        return f"Untagged: {full}\nDeleted: {lists.remove(full)}"

    for_each(names, remove_one)


@click.command(cls=GoFlagsCommand)
@access.options
@click.option("--add-compression", "added", multiple=True, type=click.Choice(["gzip", "zstd"]),
              help="Also push each image compressed so.")  # fmt: skip
@click.option("--all", "everything", type=bool, default=True,
              help="Push the list's images too (default true).")  # fmt: skip
@click.option("--compression-format", type=click.Choice(["gzip", "zstd"]),
              help="Compress every layer so.")  # fmt: skip
@click.option("--compression-level", type=int, metavar="N", help="Of the compression.")
@click.option("--force-compression", "force", type=bool, default=True,
              help="Pack layers anew that are packed in another way (default true).")  # fmt: skip
@click.option("--digestfile", metavar="FILE", help="Write the list's digest to a file.")
@click.option("-f", "--format", "form", type=click.Choice(["oci", "v2s2"]),
              help="Make the list and its manifests ones of this format.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.option("--remove-signatures", is_flag=True, help="Do not copy signatures.")
@signing.options
@click.option("--rm", "remove_after", is_flag=True, help="Remove the list afterwards.")
@click.argument("name", metavar="LIST")
@click.argument("place", metavar="[DESTINATION]", required=False)
@click.pass_obj
def push(
    engine: Engine,
    /,
    name: str,
    place: str | None,
    added: tuple[str, ...],
    everything: bool,
    compression_format: str | None,
    compression_level: int | None,
    force: bool,
    digestfile: str | None,
    form: str | None,
    quiet: bool,
    remove_signatures: bool,
    remove_after: bool,
    **given: Any,
) -> None:
    """Push LIST to DESTINATION, by default the registry that its name says."""
    from pyengine.images import pushing
    from pyengine.images.copying import CopyOptions
    from pyengine.images.trust.signing import signer

    lists = _lists(engine)
    full = lists.find(name)
    target = pushing.named_place(place or full)
    options = CopyOptions(
        multi="all" if everything else "index-only",
        form=form,
        compression=compression_format,
        level=compression_level,
        force=force,
        remove_signatures=remove_signatures,
        sign=signer(target, signing.make(given)),
    )
    options.added = added
    reached = access.make(**given)
    digest = lists.push(full, target, options, reached, progress(quiet))
    if digestfile:
        write_digest(digestfile, digest)
    if remove_after:
        lists.remove(full)
    click.echo(digest)
