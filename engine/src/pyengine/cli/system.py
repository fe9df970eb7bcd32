"""Commands about pyengine itself: version, and what concerns its whole storage."""

from __future__ import annotations

import os
import platform

import click

from pyengine.cli.confirm import confirm
from pyengine.errors import StorageError
from pyengine.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def facts() -> dict[str, Any]:
    """Podman's keys; there is no Go and no build here, so those that are about them are empty."""
    machine = platform.machine()
    return {
        "APIVersion": VERSION,
        "Version": VERSION,
        "GoVersion": "",
        "PythonVersion": platform.python_version(),
        "GitCommit": "",
        "BuiltTime": "",
        "Built": 0,
        "OsArch": f"linux/{ARCHITECTURES.get(machine, machine)}",
        "Os": "linux",
    }


@click.command()
@click.option("-f", "--format", "form", default="", metavar="FORMAT",
              help="json, or a Go template.")  # fmt: skip
def version(form: str) -> None:
    """Display the pyengine version information."""
    from pyengine.cli import fields
    from pyengine.cli.report import is_json

    known = facts()
    if is_json(form):
        import json

        click.echo(json.dumps({"Client": known}, indent=2))
    elif form:
        click.echo(fields.render(form, {"Client": known, "Server": None, **known}, "version"))
    else:
        rows = {"Client": "pyengine", "Version": VERSION, "API Version": VERSION,
                "Python Version": known["PythonVersion"], "OS/Arch": known["OsArch"]}  # fmt: skip
        for name, value in rows.items():
            click.echo(f"{name + ':':<16}{value}")


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also images that have names.")
@click.option("--build", is_flag=True, help="Also what builds have left: this version builds none.")
@click.option("--external", is_flag=True, help="Only containers of other programs: there are none.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE",
              help="Only what fits, such as until=24h or label=K=V.")  # fmt: skip
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--volumes", is_flag=True, help="Also volumes that no container uses.")
@click.pass_obj
def prune(
    engine: Engine,
    /,
    everything: bool,
    build: bool,
    external: bool,
    filters: tuple[str, ...],
    force: bool,
    volumes: bool,
) -> None:
    """Remove unused containers, images and, if asked for, volumes."""
    if external and (everything or volumes or build):
        raise click.UsageError("--external cannot be combined with other options")
    if external:
        return
    if not force and not confirm(_prune_warning(everything=everything, volumes=volumes)):
        return
    from pyengine.cli import image_filters

    before = _free_bytes(engine)
    removed = [found for found in map(engine.containers.prune_one,
                                      engine.containers.prunable(filters)) if found]  # fmt: skip
    _tell("Deleted Containers", removed)
    if volumes:
        _tell("Deleted Volumes", _prune_volumes(engine, filters))
    wanted = image_filters.tests(engine, filters)
    chosen = None
    if wanted:
        listed = engine.images.list_images()
        chosen = {one.id for one in listed if all(test(one) for test in wanted)}
    _tell("Deleted Images", list(engine.images.prune(everything=everything, only=chosen)))
    from pyengine.cli import sizes

    click.echo(f"Total reclaimed space: {sizes.compact(max(_free_bytes(engine) - before, 0))}")


def _prune_warning(*, everything: bool, volumes: bool) -> str:
    what = ["all stopped containers"]
    what += ["all volumes not used by at least one container"] if volumes else []
    what += [
        "all images without at least one container associated with them"
        if everything
        else "all dangling images"
    ]
    return "\n".join(["WARNING! This command removes:", *(f"\t- {one}" for one in what), ""])


def _tell(title: str, names: list[str]) -> None:
    if names:
        click.echo("\n".join([title, *names]))


def _prune_volumes(engine: Engine, filters: tuple[str, ...]) -> list[str]:
    """Remove what no container uses."""
    from pyengine.cli import image_filters
    from pyengine.volumes import filters as known

    used = engine.volumes.users()
    tests = known.tests(engine.volumes, filters, image_filters.moment, known.PRUNE_KEYS)
    wanted = [one for one in engine.volumes.every() if all(test(one) for test in tests)]
    return list(engine.volumes.prune(one.name for one in wanted if one.name not in used))


def _free_bytes(engine: Engine) -> int:
    status = os.statvfs(engine.root)
    return status.f_bavail * status.f_frsize


@click.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def reset(engine: Engine, /, force: bool) -> None:
    """Remove all containers, images and volumes, and everything else in the storage."""
    warning = (
        "WARNING! This will remove:\n        - all containers\n        - all images\n"
        "        - all volumes\n"
        f"        - everything below {engine.root} and {engine.runroot}"
    )
    if not force and not confirm(warning):
        return
    engine.containers.remove_every()
    from pyengine.storage.reset import remove_everything

    engine.close()
    engine.end_namespace()
    remove_everything(engine.root, engine.runroot)


@click.command()
@click.option("--new-runtime", metavar="NAME", help="Let all containers have this OCI runtime.")
@click.pass_obj
def migrate(engine: Engine, /, new_runtime: str | None) -> None:
    """Stop all containers, and end what holds an ordinary user's namespaces.

    A change of /etc/subuid or /etc/subgid holds from the next command on.
    """
    path = engine.runtime_path(new_runtime) if new_runtime else ""
    for container in engine.containers.every():
        if container.running:
            engine.containers.stop(container.id, None)
            click.echo(f"stopped {container.id}")
    if path:
        from pyengine.containers import updating

        updating.change_runtime(engine.containers.host, path)
    engine.end_namespace()


@click.command()
def renumber() -> None:
    """Do nothing: locks are files of their objects' names, which no number limits."""


@click.command()
@click.option("-f", "--force", is_flag=True, help="With --repair: remove damaged containers, too.")
@click.option("-m", "--max", "max_age", default="24h", metavar="DURATION", show_default=True,
              help="What a broken pull left counts when it is older.")  # fmt: skip
@click.option("-q", "--quick", is_flag=True, help="Do not read contents.")
@click.option("-r", "--repair", is_flag=True, help="Remove what is damaged or belongs to nothing.")
@click.pass_obj
def check(engine: Engine, /, force: bool, max_age: str, quick: bool, repair: bool) -> None:
    """Check the storage for damage, and remove what is damaged if asked to."""
    from pyengine.containers.moments import seconds
    from pyengine.images import checking

    findings = checking.check(engine.images, quick=quick, max_age_s=seconds(max_age))
    for finding in findings:
        click.echo(finding)
    if findings and repair:
        if force:
            for id_ in {id_ for finding in findings for id_ in finding.containers}:
                click.echo(f"Deleted container: {engine.containers.remove(id_, force=True)}")
        removed, findings = checking.repair(engine.images, findings)
        for image_id in removed:
            click.echo(f"Deleted image: {image_id}")
    if findings:
        raise StorageError(
            f"{len(findings)} findings: the storage is damaged: --repair removes what is damaged,"
            " with --force also containers that need it"
        )
