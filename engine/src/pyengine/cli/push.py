"""push: an image of the store to a registry, an archive or a directory."""

from __future__ import annotations

import click

from pyengine.cli import access, signing
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.cli.report import progress
from pyengine.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine


@click.command(cls=GoFlagsCommand)
@access.options
@access.retry_options
@click.option("--compression-format", type=click.Choice(["gzip", "zstd"]),
              help="Compress every layer so.")  # fmt: skip
@click.option("--compression-level", type=int, metavar="N", help="Of the compression.")
@click.option("--force-compression", "force", type=bool, default=True,
              help="Pack layers anew that are packed in another way (default true).")  # fmt: skip
@click.option("--compress", is_flag=True, help="Compress layers for the dir transport.")
@click.option("--disable-content-trust", "_trust", is_flag=True,
              help="Says what is so: Docker's content trust is not used.")  # fmt: skip
@click.option("--digestfile", metavar="FILE", help="Write the manifest's digest to a file.")
@click.option("-f", "--format", "form", type=click.Choice(["oci", "v2s2"]),
              help="Make the manifest one of this format.")  # fmt: skip
@click.option("--all", "everything", is_flag=True,
              help="IMAGE may be a manifest list, pushed with all its images.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.option("--remove-signatures", is_flag=True, help="Do not copy signatures.")
@signing.options
@click.option("--signature-policy", "policy_file", metavar="FILE",
              help="policy.json in another place.")  # fmt: skip
@click.argument("image")
@click.argument("place", metavar="[DESTINATION]", required=False)
@click.pass_obj
def push(
    engine: Engine,
    /,
    image: str,
    place: str | None,
    compression_format: str | None,
    compression_level: int | None,
    force: bool,
    compress: bool,
    _trust: bool,
    digestfile: str | None,
    form: str | None,
    everything: bool,
    quiet: bool,
    remove_signatures: bool,
    policy_file: str | None,
    retry: int,
    retry_delay: str | None,
    **given: Any,
) -> None:
    """Push IMAGE to DESTINATION, by default the registry that its name says."""
    from pyengine.images import pushing
    from pyengine.images.copying import CopyOptions
    from pyengine.images.lists import Lists
    from pyengine.images.pulling import PullOptions, retrying
    from pyengine.images.transports.names import Place
    from pyengine.images.trust import policy
    from pyengine.images.trust.signing import signer

    signed = signing.make(given)
    reached = access.make(**given)
    lists = Lists(engine.images)
    full = lists.find_or_none(image) if everything else None
    target = Place("docker", full) if full else None
    target = pushing.named_place(place) if place else target
    options = CopyOptions(
        multi="all" if full else "system",
        form=form,
        compression=compression_format or ("gzip" if compress else None),
        level=compression_level,
        force=force,
        remove_signatures=remove_signatures,
        policy=policy.load(policy_file),
        sign=signer(target or pushing.target(engine.images, image, place), signed),
    )
    report, delay_s = progress(quiet), access.seconds(retry_delay)

    def once() -> str:
        if full and target:
            return lists.push(full, target, options, reached, report)
        return pushing.push(engine.images, image, place, options, reached, report)

    digest = retrying(PullOptions(retry=retry, retry_delay_s=delay_s), once, report)
    if digestfile:
        write_digest(digestfile, digest)


def write_digest(path: str, digest: str) -> None:
    """What ``--digestfile`` asks for."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(digest)
    except OSError as error:
        raise StorageError(f"write {path}: {error.strerror}") from error
