"""image trust: shows and changes the signature policy."""

from __future__ import annotations

import json

import click

from pyengine.cli.report import table
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADING = ["TRANSPORT", "NAME", "TYPE", "ID", "STORE"]
_WORDS = {"insecureAcceptAnything": "accept", "reject": "reject", "signedBy": "signed",
          "sigstoreSigned": "sigstoreSigned"}  # fmt: skip
_TYPES = {"accept": "insecureAcceptAnything", "reject": "reject", "signedBy": "signedBy",
          "sigstoreSigned": "sigstoreSigned"}  # fmt: skip
_WITH_KEYS = ("signedBy", "sigstoreSigned")
_TRANSPORTS = {"docker": "repository"}


@click.group()
def trust() -> None:
    """Show and change the policy that says which images may be used."""


@trust.command()
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-n", "--noheading", is_flag=True, help="Print no column names.")
@click.option("--policypath", metavar="FILE", help="policy.json in another place.")
@click.option("--raw", is_flag=True, help="Print the file as it is.")
def show(as_json: bool, noheading: bool, policypath: str | None, raw: bool) -> None:
    """Print which images may be used."""
    from pyengine.images.trust import policy

    loaded = policy.load(policypath)
    if raw:
        click.echo(json.dumps(loaded.fields, indent=4))
        return
    rows = _rows(loaded.fields)
    if as_json:
        keys = ("transport", "name", "repo_name", "type", "gpg_id", "sigstore")
        listed = [dict(zip(keys, (row[0], row[1], *row[1:]), strict=True)) for row in rows]
        click.echo(json.dumps(listed, indent=4))
        return
    for line in table(None if noheading else HEADING, rows):
        click.echo(line)


def _rows(fields: dict[str, Any]) -> list[list[str]]:
    """A row for each scope; where its signatures are comes from registries.d."""
    from pyengine.images.trust import signatures
    from pyengine.registry import lookaside

    found = [("all", "default", fields["default"])]
    for transport, scopes in fields.get("transports", {}).items():
        shown = _TRANSPORTS.get(transport, transport)
        found += [(shown, scope, scopes[scope]) for scope in scopes]
    rows = []
    for transport, name, requirements in found:
        one = requirements[0]
        users = signatures.users(one) if one["type"] == "signedBy" else []
        users = ["N/A"] if one["type"] == "sigstoreSigned" else users
        place = None
        if transport == "repository" and name:
            place = lookaside.place(name, ("lookaside", "sigstore"), None)
        rows.append([transport, name, _WORDS[one["type"]], ", ".join(users), place or ""])
    return rows


@trust.command("set")
@click.option("-f", "--pubkeysfile", "key_files", multiple=True, metavar="FILE",
              help="A key whose signatures are trusted.")  # fmt: skip
@click.option("-t", "--type", "kind", type=click.Choice(list(_TYPES)), default="signedBy",
              help="What is asked of images.")  # fmt: skip
@click.option("--policypath", metavar="FILE", help="policy.json in another place.")
@click.argument("scope", metavar="REGISTRY[/REPOSITORY]|default")
def set_(scope: str, key_files: tuple[str, ...], kind: str, policypath: str | None) -> None:
    """Say what is asked of images of a registry or repository."""
    import os

    from pyengine.images.trust import policy

    if kind in _WITH_KEYS and not key_files:
        raise click.UsageError(f"At least one public key must be defined for type '{kind}'")
    if kind not in _WITH_KEYS and key_files:
        raise click.UsageError(f"--pubkeysfile option is only for types {' and '.join(_WITH_KEYS)}")
    for path in key_files:
        if not os.path.isfile(path):
            raise ConfigError(f"image trust set {scope}: {path}: no such file")
    path = policypath or policy.default_file()
    fields = policy.load(policypath if policypath and os.path.exists(policypath) else None).fields
    requirements: list[dict[str, object]] = [{"type": _TYPES[kind]}]
    if key_files:
        absolute = [os.path.abspath(one) for one in key_files]
        gpg = {"keyType": "GPGKeys"} if kind == "signedBy" else {}
        requirements = [{"type": kind, **gpg, "keyPath": one} for one in absolute]
    if scope == "default":
        fields["default"] = requirements
    else:
        fields.setdefault("transports", {}).setdefault("docker", {})[scope] = requirements
    policy.Policy(fields, path)
    policy.write(fields, path)
