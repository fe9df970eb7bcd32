"""container checkpoint and restore."""

from __future__ import annotations

import json
import time

import click

from pyengine.cli.many import for_each, select
from pyengine.containers.checkpointing import Wish
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyengine.containers.checkpointing import Report
    from pyengine.engine import Engine

    Function = Callable[..., object]

COMPRESSIONS = ("none", "gzip", "zstd")

_SHARED = (
    click.option("--file-locks", is_flag=True, help="Take file locks along."),
    click.option("-k", "--keep", is_flag=True, help="Keep what could be removed afterwards."),
    click.option("-l", "--latest", is_flag=True, help="The container that was created last."),
    click.option("--print-stats", is_flag=True, help="Say how long it took, as JSON."),
    click.option("--tcp-established", is_flag=True, help="Take open TCP connections along."),
    click.argument("containers", nargs=-1, metavar="[CONTAINER...]"),
)


def _shared(function: Function) -> Function:
    for one in reversed(_SHARED):
        function = one(function)
    return function


def _flags(**given: bool) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name, value in given.items() if value]


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="All running containers.")
@click.option("-c", "--compress", metavar="none|gzip|zstd", help="Of --export; zstd by default.")
@click.option("--create-image", default="", metavar="NAME", help="Make an image of the checkpoint.")
@click.option("-e", "--export", default="", metavar="FILE", help="Write an archive, too.")
@click.option("--ignore-rootfs", is_flag=True, help="Export no changes of the file system.")
@click.option("--ignore-volumes", is_flag=True, help="Export no volumes.")
@click.option("-R", "--leave-running", is_flag=True, help="Let the container go on afterwards.")
@click.option("-P", "--pre-checkpoint", is_flag=True, help="Save its memory alone; it goes on.")
@click.option("--with-previous", is_flag=True, help="Save what is new since --pre-checkpoint.")
@_shared
@click.pass_obj
def checkpoint(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    every: bool,
    compress: str | None,
    create_image: str,
    export: str,
    ignore_rootfs: bool,
    ignore_volumes: bool,
    file_locks: bool,
    keep: bool,
    latest: bool,
    leave_running: bool,
    pre_checkpoint: bool,
    print_stats: bool,
    tcp_established: bool,
    with_previous: bool,
) -> None:
    """Save running containers with CRIU, which ends them."""
    only_export = {
        "--compress": compress is not None,
        "--ignore-rootfs": ignore_rootfs,
        "--ignore-volumes": ignore_volumes,
    }
    _refuse(only_export, "--export", given=bool(export))
    if (compress or "zstd").lower() not in COMPRESSIONS:
        raise click.UsageError(
            f'selected compression algorithm ("{compress}") not supported. Please select one from:'
            f" {', '.join(COMPRESSIONS)}"
        )
    if with_previous and pre_checkpoint:
        raise click.UsageError("--with-previous can not be used with --pre-checkpoint")
    if create_image and export:
        raise click.UsageError("--create-image can not be used with --export")
    names = select(engine, containers, latest=latest, every=every,
                   among=lambda one: one.status == "running")  # fmt: skip
    if export and len(names) > 1:
        raise click.UsageError("--export takes one container: they would have the same archive")
    wish = Wish(
        _flags(file_locks=file_locks, tcp_established=tcp_established), keep=keep,
        leave_running=leave_running, pre=pre_checkpoint, with_previous=with_previous,
        export=export, image=create_image, compression=(compress or "zstd").lower(),
        without_root=ignore_rootfs, without_volumes=ignore_volumes,
    )  # fmt: skip
    _run("checkpoint", names, lambda name: engine.checkpoints.save(name, wish), print_stats)


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="All containers with a checkpoint.")
@click.option("--ignore-rootfs", is_flag=True, help="Import no changes of the file system.")
@click.option("--ignore-static-ip", is_flag=True, help="Take another address than --ip said.")
@click.option("--ignore-static-mac", is_flag=True, help="Another one than --mac-address said.")
@click.option("--ignore-volumes", is_flag=True, help="Import no volumes.")
@click.option("-i", "--import", "archive", default="", metavar="FILE", help="Restore an archive.")
@click.option("--import-previous", default="", metavar="FILE", help="Its pre-checkpoint's archive.")
@click.option("-n", "--name", default="", metavar="NAME", help="Of what is imported.")
@click.option("--pod", default="", metavar="POD", help="Put it into a pod.")
@click.option("-p", "--publish", multiple=True, metavar="PORTS", help="Publish other ports.")
@click.option("--tcp-close", is_flag=True, help="Close TCP connections that were open.")
@_shared
@click.pass_obj
def restore(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    every: bool,
    archive: str,
    ignore_rootfs: bool,
    ignore_static_ip: bool,
    ignore_static_mac: bool,
    ignore_volumes: bool,
    import_previous: str,
    name: str,
    pod: str,
    publish: tuple[str, ...],
    file_locks: bool,
    keep: bool,
    latest: bool,
    print_stats: bool,
    tcp_close: bool,
    tcp_established: bool,
) -> None:
    """Let containers go on where their checkpoints were made, or those of archives and images."""
    del ignore_static_ip, ignore_static_mac  # without bridged networks there is nothing to ignore
    if archive and (every or latest or containers):
        raise click.UsageError("cannot use --import with --all, --latest or containers")
    if pod or publish:
        raise ConfigError("--pod and --publish: this version has no pods and no bridged networks")
    if name and tcp_established:
        raise click.UsageError("--tcp-established cannot be used with --name")
    checkpoints, host = engine.checkpoints, engine.containers.host
    names = [archive] if archive else select(
        engine, containers, latest=latest, every=every,
        among=lambda one: not one.live and host.checkpointed_at(one.id) is not None,
    )  # fmt: skip
    flags = _flags(file_locks=file_locks, tcp_close=tcp_close, tcp_established=tcp_established)
    only_import = {
        "--import-previous": import_previous,
        "--ignore-rootfs": ignore_rootfs,
        "--ignore-volumes": ignore_volumes,
        "--name": name,
    }

    def act(one: str) -> Report:
        image = None if archive else checkpoints.image_of(one)
        _refuse(only_import, "image or --import", given=bool(archive or image))
        if not (archive or image):
            return checkpoints.restore(one, flags, keep=keep)
        from pyengine.containers.importing import Wanted

        return checkpoints.bring_in(Wanted(
            flags, archive=archive, previous=import_previous, image=image, name=name, keep=keep,
            without_root=ignore_rootfs, without_volumes=ignore_volumes,
        ))  # fmt: skip

    if name and len(names) > 1:
        raise click.UsageError("--name can only be used with one checkpoint image")
    _run("restore", names, act, print_stats)


def _refuse(options: Mapping[str, object], needed: str, *, given: bool) -> None:
    for option, value in options.items():
        if value and not given:
            raise click.UsageError(f"{option} can only be used with {needed}")


def _run(what: str, names: list[str], act: Callable[[str], Report], statistics: bool) -> None:
    """Do it for each, and print ids, or with ``statistics`` what podman prints then."""
    began = time.monotonic_ns()
    if not statistics:
        for_each(names, lambda name: act(name).id)
        return
    rows = []
    try:
        for name in names:
            done = act(name)
            rows.append({
                "Id": done.id, f"runtime_{what}_duration": done.runtime_us,
                "criu_statistics": done.criu,
            })  # fmt: skip
    finally:
        duration_us = (time.monotonic_ns() - began) // 1000
        print(json.dumps({f"podman_{what}_duration": duration_us, "container_statistics": rows},
                         indent=4))  # fmt: skip
