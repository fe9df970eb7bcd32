"""image sign: signatures of images in registries."""

from __future__ import annotations

import os

import click

from pyengine.cli.goflags import GoFlagsCommand


@click.command(cls=GoFlagsCommand)
@click.option("-a", "--all", "everything", is_flag=True, help="Of a list, sign every image too.")
@click.option("--authfile", metavar="FILE", help="auth.json in another place.")
@click.option("--cert-dir", metavar="DIR", help="Where certificates and keys are.")
@click.option("-d", "--directory", metavar="DIR", help="Keep the signatures there.")
@click.option("--sign-by", required=True, metavar="KEY", help="The key of gpg.")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
def sign(
    images: tuple[str, ...],
    everything: bool,
    authfile: str | None,
    cert_dir: str | None,
    directory: str | None,
    sign_by: str,
) -> None:
    """Sign IMAGEs, which are in registries, and keep the signatures beside these."""
    from pyengine.errors import ConfigError
    from pyengine.images import signing
    from pyengine.registry.settings import Access

    if directory is not None and not os.path.isdir(directory):
        raise ConfigError(f"image sign --directory {directory}: no such directory")
    access = Access(cert_dir=cert_dir, auth_file=authfile)
    place = os.path.abspath(directory) if directory else None
    for image in images:
        signing.sign(image, sign_by, access, directory=place, everything=everything)
