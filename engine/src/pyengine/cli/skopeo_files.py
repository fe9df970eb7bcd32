"""skopeo's commands that work on files alone: digests, signatures, keys."""

from __future__ import annotations

import click

from pyengine.cli import signing


@click.command("manifest-digest")
@click.argument("path", metavar="MANIFEST-FILE")
def manifest_digest(path: str) -> None:
    """Print the digest of a manifest in a file."""
    from pyengine.images import manifests

    with open(path, "rb") as file:
        click.echo(manifests.digest_of(file.read()))


@click.command("standalone-sign")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the signature goes.")
@click.option("--passphrase-file", metavar="FILE", help="Holds the key's passphrase.")
@click.argument("path", metavar="MANIFEST-FILE")
@click.argument("reference", metavar="DOCKER-REFERENCE")
@click.argument("key", metavar="KEY")
def standalone_sign(
    path: str, reference: str, key: str, output: str, passphrase_file: str | None
) -> None:
    """Sign the manifest in a file as that of an image."""
    from pyengine.images import manifests, references
    from pyengine.images.trust import signatures

    with open(path, "rb") as file:
        digest = manifests.digest_of(file.read())
    name = str(references.pull_name(reference))
    signature = signatures.sign(digest, name, key, passphrase_file)
    with open(output, "wb") as file:
        file.write(signature)


@click.command("standalone-verify")
@click.option("--public-key-file", required=True, metavar="FILE", help="Holds the trusted keys.")
@click.argument("path", metavar="MANIFEST-FILE")
@click.argument("reference", metavar="DOCKER-REFERENCE")
@click.argument("fingerprint", metavar="FINGERPRINT|any")
@click.argument("signature", metavar="SIGNATURE-FILE")
def standalone_verify(
    path: str, reference: str, fingerprint: str, signature: str, public_key_file: str
) -> None:
    """Verify a signature of the manifest in a file."""
    from pyengine.errors import TrustError
    from pyengine.images import manifests, references
    from pyengine.images.trust import signatures

    with open(path, "rb") as manifest, open(signature, "rb") as signed_file:
        digest, data = manifests.digest_of(manifest.read()), signed_file.read()
    requirement = {"keyPath": public_key_file}
    with signatures.Keyring(requirement, "standalone-verify") as keyring:
        signed = keyring.verify(data)
    if fingerprint not in ("any", signed.fingerprint):
        raise TrustError(f"the signature is by {signed.fingerprint}, not by {fingerprint}")
    if signed.digest != digest or signed.reference != str(references.pull_name(reference)):
        raise TrustError(
            f"the signature is for {signed.reference} with {signed.digest}, not for {reference} "
            f"with {digest}"
        )
    click.echo(f"Signature verified using fingerprint {signed.fingerprint}, digest {digest}")


@click.command("generate-sigstore-key")
@click.option("--output-prefix", required=True, metavar="PREFIX",
              help="Write PREFIX.pub and PREFIX.private.")  # fmt: skip
@click.option("--passphrase-file", metavar="FILE", help="Holds the passphrase of the new key.")
def generate_sigstore_key(output_prefix: str, passphrase_file: str | None) -> None:
    """Make a pair of keys for sigstore signatures."""
    from pyengine.images.trust import keys

    if passphrase_file is not None:
        passphrase = keys.read_passphrase(passphrase_file)
    else:
        passphrase = signing.ask_passphrase(f"{output_prefix}.private").encode()
    private, public = keys.generate(output_prefix, passphrase)
    click.echo(f'Key written to "{private}" and "{public}"')


COMMANDS = (manifest_digest, standalone_sign, standalone_verify, generate_sigstore_key)
