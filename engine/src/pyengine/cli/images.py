"""load, images, rmi, tag, untag and image exists."""

from __future__ import annotations

import json
import os
import time

import click

from pyengine.cli import access, durations, fields, image_filters, sizes
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.cli.many import for_each
from pyengine.cli.report import is_json, progress, table
from pyengine.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyengine.engine import Engine
    from pyengine.images.model import Image

NONE = "<none>"

# The columns of ``images`` and the fields they show.
HEADING = {
    "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID",
    "Created": "CREATED", "Size": "SIZE",
}  # fmt: skip


@click.command()
@click.option("-i", "--input", "path", metavar="FILE", help="Read this file instead of stdin.")
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.pass_obj
def load(engine: Engine, /, path: str | None, quiet: bool) -> None:
    """Load images from a docker-archive or oci-archive, compressed or not."""
    from pyengine.images import archives
    from pyengine.images.transports import tarfiles

    if path is None and os.isatty(0):
        raise click.UsageError("cannot read from terminal, use command-line redirection or -i")
    if path is not None and os.path.isdir(path):
        _say_loaded(archives.load_directory(engine.images, path, progress(quiet)))
        return
    label = f"load {path or 'standard input'}"
    source_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else os.dup(0)
    try:
        archive_fd = tarfiles.open_archive(source_fd, label, f"{engine.storage.root}/staging")
    finally:
        os.close(source_fd)
    try:
        archive = tarfiles.Archive(archive_fd, label)
        _say_loaded(archives.load(engine.images, archive, progress(quiet)))
    finally:
        os.close(archive_fd)


def _say_loaded(loaded: Iterator[tuple[list[str], str]]) -> None:
    for names, image_id in loaded:
        for name in names or [f"sha256:{image_id}"]:
            click.echo(f"Loaded image: {name}")


@click.command(cls=GoFlagsCommand)
@access.options
@access.retry_options
@click.option("-a", "--all-tags", is_flag=True, help="Every tag of the repository.")
@click.option("--disable-content-trust", "_trust", is_flag=True,
              help="Says what is so: Docker's content trust is not used.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Instead of this machine's.")
@click.option("--arch", metavar="ARCH", help="Architecture instead of this machine's.")
@click.option("--os", "system", metavar="OS", help="Operating system instead of linux.")
@click.option("--variant", metavar="VARIANT", help="Of the architecture, such as v7.")
@click.option("--policy", type=click.Choice(["always", "missing", "never", "newer"]),
              default="always", help="Whether an image that is here is pulled.")  # fmt: skip
@click.option("--signature-policy", "policy_file", metavar="FILE",
              help="policy.json in another place.")  # fmt: skip
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.pass_obj
def pull(
    engine: Engine,
    /,
    names: tuple[str, ...],
    all_tags: bool,
    _trust: bool,
    quiet: bool,
    platform: str | None,
    arch: str | None,
    system: str | None,
    variant: str | None,
    policy: str,
    policy_file: str | None,
    retry: int,
    retry_delay: str | None,
    **given: object,
) -> None:
    """Pull images from registries, archives or directories and print their ids."""
    from pyengine.images import manifests, pulling

    if platform and (arch or system):
        raise click.UsageError("--platform option can not be specified with --arch or --os")
    if arch or system or variant:
        platform = manifests.platform_of(system, arch, variant)
    options = pulling.PullOptions(
        platform=platform,
        access=access.make(**given),  # type: ignore[arg-type]  # click made the types
        policy=policy,
        policy_file=policy_file,
        all_tags=all_tags,
        retry=retry,
        retry_delay_s=access.seconds(retry_delay),
    )
    for_each(names, lambda name: pulling.pull(engine.images, name, options, progress(quiet)))


@click.command()
@click.option("-a", "--all", "everything", is_flag=True,
              help="Also images with names, unless a container needs them.")  # fmt: skip
@click.option("--external", "_external", is_flag=True,
              help="Says what is so: containers of other programs keep no image.")  # fmt: skip
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE",
              help="Only images that fit, such as until=24h or label=K=V.")  # fmt: skip
@click.pass_obj
def prune(
    engine: Engine, /, everything: bool, _external: bool, force: bool, filters: tuple[str, ...]
) -> None:
    """Remove images without a name, and what interrupted pulls left."""
    if not force:
        what = "without at least one container" if everything else "without a name"
        click.confirm(f"WARNING! This removes all images {what}. Continue?", abort=True, err=True)
    wanted = image_filters.tests(engine, filters)
    chosen: set[str] | None = None
    if wanted:
        listed = engine.images.list_images()
        chosen = {one.id for one in listed if all(test(one) for test in wanted)}
    for image_id in engine.images.prune(everything=everything, only=chosen):
        click.echo(image_id)


@click.command()
@click.option("-a", "--all", "_all", is_flag=True, help="Also images that others are built on.")
@click.option("-q", "--quiet", is_flag=True, help="Print only ids.")
@click.option("--no-trunc", is_flag=True, help="Print whole ids.")
@click.option("-n", "--noheading", is_flag=True, help="Print no column names.")
@click.option("--digests", is_flag=True, help="Print manifest digests.")
@click.option("--history", "show_names", is_flag=True, help="Print all names of each image.")
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only images that fit, such as dangling=true, label=K=V, reference=PATTERN.",
)
@click.option("--sort", type=click.Choice(image_filters.SORTS), default="created",
              help="What to sort by.")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", help="json, or a Go template.")
@click.argument("name", required=False)
@click.pass_obj
def images(
    engine: Engine,
    /,
    name: str | None,
    quiet: bool,
    no_trunc: bool,
    noheading: bool,
    digests: bool,
    show_names: bool,
    filters: tuple[str, ...],
    sort: str,
    form: str | None,
    _all: bool,
) -> None:
    """List images, those called NAME if given."""
    wanted = image_filters.tests(engine, filters)
    every = [*engine.images.list_images(), *_lists(engine)]
    listed = [one for one in every if all(test(one) for test in wanted)]
    rows = image_filters.in_order(_rows(listed, name), sort)
    if is_json(form):
        found = {image.id: image for image, _, _ in rows}
        click.echo(json.dumps([_as_json(image) for image in found.values()], indent=4))
        return
    if quiet:
        ids = [_shown_id(image, no_trunc) for image, _, _ in rows]
        click.echo("".join(f"{one}\n" for one in dict.fromkeys(ids)), nl=False)
        return
    lines = [_fields(*row, no_trunc=no_trunc) for row in rows]
    if form is not None:
        for text in fields.lines(form, lines, HEADING, heading=not noheading, name="images"):
            click.echo(text)
        return
    columns = [column for column in HEADING if digests or column != "Digest"]
    columns += ["History"] if show_names else []
    header = None if noheading else [HEADING.get(column, column.upper()) for column in columns]
    cells = [[line[column] for column in columns] for line in lines]
    for text in table(header, cells):
        click.echo(text)


def _lists(engine: Engine) -> list[Image]:
    """Manifest lists, which podman shows among images; few have any."""
    with engine.database.read() as connection:
        if connection.execute("SELECT 1 FROM manifest_lists LIMIT 1").fetchone() is None:
            return []
    from pyengine.images.lists import Lists

    return Lists(engine.images).every()


def _shown_id(image: Image, no_trunc: bool) -> str:
    return f"sha256:{image.id}" if no_trunc else image.id[:12]


def _fields(image: Image, repository: str, tag: str, *, no_trunc: bool) -> dict[str, Any]:
    """Podman's fields; a row of the list is one name of an image."""
    since = f"{durations.human(time.time() - image.created_at)} ago"
    at = durations.rfc3339(int(image.created_at)).replace("T", " ")
    at = f"{at.partition('.')[0].removesuffix('Z')} +0000 UTC"
    return {
        **_as_json(image),
        "Repository": repository,
        "Tag": tag,
        "ID": _shown_id(image, no_trunc),
        "Created": since,
        "CreatedSince": since,
        "CreatedAt": at,
        "CreatedTime": at,
        "Dangling": not image.names,
        "History": ", ".join(image.names),
        "ReadOnly": False,
        "Size": sizes.human(image.size),
    }


def _rows(listed: list[Image], name: str | None) -> list[tuple[Image, str, str]]:
    """A row per name; an image without one has a single row."""
    rows = []
    for image in listed:
        for full in image.names or [f"{NONE}:{NONE}"]:
            repository, _, tag = full.rpartition(":")
            if name is None or _matches(repository, tag, name):
                rows.append((image, repository, tag))
    return rows


def _matches(repository: str, tag: str, wanted: str) -> bool:
    wanted_repository, colon, wanted_tag = wanted.rpartition(":")
    if not colon or "/" in wanted_tag:
        wanted_repository, wanted_tag = wanted, ""
    fits = repository == wanted_repository or repository.endswith(f"/{wanted_repository}")
    return fits and wanted_tag in ("", tag)


def _as_json(image: Image) -> dict[str, Any]:
    config = image.config.get("config") or {}
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": image.names or None,
        "RepoDigests": image.repo_digests,
        "Size": image.size,
        "SharedSize": 0,
        "VirtualSize": image.size,
        "Labels": config.get("Labels"),
        "Containers": 0,
        "Names": image.names,
        "Digest": image.manifest_digest,
        "History": image.names,
        "Created": int(image.created_at),
        "CreatedAt": image.config.get("created", ""),
    }


@click.command()
@click.option("-f", "--force", is_flag=True, help="Also containers, and an id with several names.")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove all images.")
@click.option("-i", "--ignore", is_flag=True, help="An image that does not exist is no error.")
@click.option("--no-prune", "_no_prune", is_flag=True,
              help="Says what is so: images below it are not removed.")  # fmt: skip
@click.argument("names", metavar="IMAGE...", nargs=-1)
@click.pass_obj
def rmi(
    engine: Engine,
    /,
    names: tuple[str, ...],
    force: bool,
    everything: bool,
    ignore: bool,
    _no_prune: bool,
) -> None:
    """Remove names of images, and images with their last name."""
    if everything == bool(names):
        raise click.UsageError("give either the images' names or --all")
    if everything:
        names = tuple(image.id for image in [*_lists(engine), *engine.images.list_images()])

    def remove(name: str) -> str | None:
        try:
            if force:
                for container in engine.images.last_users(name):
                    engine.containers.remove(container, force=True)
            removal = engine.images.remove(name, force=force or everything)
        except NotFoundError:
            removed = _remove_list(engine, name)
            if removed is None and not ignore:
                raise
            return removed
        deleted = [f"Deleted: {removal.deleted_id}"] if removal.deleted_id else []
        return "\n".join([*(f"Untagged: {one}" for one in removal.untagged), *deleted]) or None

    for_each(names, remove)


def _remove_list(engine: Engine, text: str) -> str | None:
    """What is printed of a manifest list that went, or None where there is none."""
    from pyengine.images.lists import Lists

    lists = Lists(engine.images)
    try:
        name = lists.find_by_id(text)
    except NotFoundError:
        return None
    return f"Untagged: {name}\nDeleted: {lists.remove(name)}"


@click.command()
@click.argument("image")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.pass_obj
def tag(engine: Engine, /, image: str, names: tuple[str, ...]) -> None:
    """Give IMAGE further names."""
    engine.images.tag(image, *names)


@click.command()
@click.argument("image")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.pass_obj
def untag(engine: Engine, /, image: str, names: tuple[str, ...]) -> None:
    """Take names, or all of them, from IMAGE."""
    engine.images.untag(image, *names)


@click.command()
@click.argument("image")
@click.pass_obj
def exists(engine: Engine, /, image: str) -> int:
    """Exit with 0 if IMAGE is in the store and with 1 if it is not."""
    from pyengine.images.lists import Lists

    try:
        engine.images.resolve(image)
    except NotFoundError:
        return 0 if Lists(engine.images).find_or_none(image) else 1
    return 0
