"""secret create, ls, inspect, rm and exists."""

from __future__ import annotations

import json
import os
import sys
import time

import click

from pyengine.cli import fields
from pyengine.cli.durations import human, rfc3339
from pyengine.cli.many import for_each
from pyengine.cli.report import is_json, table
from pyengine.cli.volume import pairs
from pyengine.errors import ConfigError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine
    from pyengine.secrets.store import Secret

HEADINGS = {"ID": "ID", "Name": "NAME", "Driver": "DRIVER", "CreatedAt": "CREATED",
            "UpdatedAt": "UPDATED"}  # fmt: skip
NAMES = click.argument("secrets", nargs=-1, metavar="SECRET [SECRET...]")


@click.command()
@click.option("-d", "--driver", default="file", show_default=True, metavar="NAME",
              help="Who keeps it: file, pass or shell.")  # fmt: skip
@click.option("--driver-opts", multiple=True, metavar="NAME=VALUE", help="Options of the driver.")
@click.option("--env", is_flag=True, help="PATH is the name of an environment variable.")
@click.option("--ignore", is_flag=True, help="That it exists already is no error.")
@click.option("-l", "--label", "labels", multiple=True, metavar="NAME[=VALUE]", help="Set a label.")
@click.option("--replace", is_flag=True, help="Replace a secret of this name.")
@click.argument("words", nargs=-1, metavar="NAME PATH|-")
@click.pass_obj
def create(
    engine: Engine,
    /,
    words: tuple[str, ...],
    driver: str,
    driver_opts: tuple[str, ...],
    env: bool,
    ignore: bool,
    labels: tuple[str, ...],
    replace: bool,
) -> None:
    """Keep a secret from a file, standard input or a variable, and print its id."""
    if len(words) != 2:
        raise click.ClickException(f"accepts 2 arg(s), received {len(words)}")
    name, path = words
    options = pairs(tuple(one for text in driver_opts for one in text.split(",")))
    data = _variable(path) if env else _content(path)
    id_ = engine.secrets.create(
        name, data, driver=driver, driver_options=options, labels=pairs(labels), replace=replace,
        ignore=ignore,
    )  # fmt: skip
    click.echo(id_)


def _variable(name: str) -> bytes:
    if name not in os.environ:
        raise ConfigError(
            f"cannot create store secret data: environment variable {name} is not set"
        )
    return os.environb[os.fsencode(name)]


def _content(path: str) -> bytes:
    from pyengine.secrets.store import MAX_BYTES

    if path == "-":
        if os.isatty(0):
            raise ConfigError("if `-` is used, data must be passed into stdin")
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"open {path}: {error.strerror}") from error


@click.command()
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE",
              help="Only secrets whose name or id fits.")  # fmt: skip
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a Go template.")
@click.option("-n", "--noheading", is_flag=True, help="Print no header.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.pass_obj
def list_(
    engine: Engine, /, filters: tuple[str, ...], form: str, noheading: bool, quiet: bool
) -> None:
    """List secrets."""
    found = _filtered(engine.secrets.every(), filters)
    if quiet:
        for secret in found:
            click.echo(secret.id)
        return
    rows = [_row(secret) for secret in found]
    if is_json(form):
        click.echo(json.dumps(rows, indent=4))
        return
    if form:
        lines = fields.lines(form, rows, HEADINGS, heading=not noheading, name="list")
    else:
        header = None if noheading else list(HEADINGS.values())
        lines = table(header, [[str(row[key]) for key in HEADINGS] for row in rows])
    for line in lines:
        click.echo(line)


def _filtered(secrets: list[Secret], filters: tuple[str, ...]) -> list[Secret]:
    """Values of one key are alternatives."""
    import re

    wanted: dict[str, list[re.Pattern[str]]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key not in ("name", "id"):
            raise ConfigError(f'invalid filter "{key}": use name or id')
        try:
            wanted.setdefault(key, []).append(re.compile(value if key == "name" else f"^{value}"))
        except re.error as error:
            raise ConfigError(f"--filter {text}: not a regular expression: {error}") from error

    def fits(secret: Secret) -> bool:
        return all(
            any(one.search(getattr(secret, key)) for one in patterns)
            for key, patterns in wanted.items()
        )

    return [secret for secret in secrets if fits(secret)]


def _row(secret: Secret) -> dict[str, Any]:
    now = time.time()
    return {
        "ID": secret.id, "Name": secret.name, "Driver": secret.driver,
        "CreatedAt": f"{human(now - secret.created_at)} ago",
        "UpdatedAt": f"{human(now - secret.updated_at)} ago",
    }  # fmt: skip


@click.command()
@fields.FORMAT.to_click()
@click.option("--pretty", is_flag=True, help="Print for people.")
@click.option("--showsecret", is_flag=True, help="Print what is secret, too.")
@NAMES
@click.pass_obj
def inspect(
    engine: Engine, /, secrets: tuple[str, ...], form: str, pretty: bool, showsecret: bool
) -> None:
    """Print everything about one or more secrets, what is secret excepted."""
    if not secrets:
        raise click.ClickException("requires at least 1 arg(s), only received 0")
    found: list[dict[str, Any]] = []
    missing: list[NotFoundError] = []
    for name in secrets:
        try:
            secret = engine.secrets.find(name)
        except NotFoundError as error:
            missing.append(error)
            continue
        found.append(_described(secret))
        if showsecret:
            data = engine.secrets.data(secret)
            found[-1]["SecretData"] = data.decode("utf-8", "replace")
    if pretty:
        for one in found:
            _print_pretty(one)
    elif form and not is_json(form):
        for line in fields.lines(form, found, {}, heading=False):
            click.echo(line)
    else:
        click.echo(json.dumps(found, indent=4) if found else "[]")
    if missing:
        raise NotFoundError(f"inspecting secret: {missing[0]}")


def _described(secret: Secret) -> dict[str, Any]:
    return {
        "ID": secret.id,
        "CreatedAt": rfc3339(secret.created_at),
        "UpdatedAt": rfc3339(secret.updated_at),
        "Spec": {
            "Name": secret.name,
            "Driver": {"Name": secret.driver, "Options": secret.driver_options},
            "Labels": secret.labels,
        },
    }


def _print_pretty(one: dict[str, Any]) -> None:
    times = {key: one[key].replace("T", " ").replace("Z", " +0000 UTC")
             for key in ("CreatedAt", "UpdatedAt")}  # fmt: skip
    rows = [("ID:", one["ID"]), ("Name:", one["Spec"]["Name"])]
    if one["Spec"]["Labels"]:
        rows.append(("Labels:", ""))
        rows += [(f" - {name}={value}", "") for name, value in one["Spec"]["Labels"].items()]
    rows += [("Driver:", one["Spec"]["Driver"]["Name"]), ("Created at:", times["CreatedAt"]),
             ("Updated at:", times["UpdatedAt"])]  # fmt: skip
    if "SecretData" in one:
        rows.append(("Secret:", one["SecretData"]))
    for name, value in rows:
        click.echo(f"{name:<18} {value}".rstrip())


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Every secret.")
@click.option("-i", "--ignore", is_flag=True, help="A secret that does not exist is no error.")
@NAMES
@click.pass_obj
def remove_secrets(
    engine: Engine, /, secrets: tuple[str, ...], everything: bool, ignore: bool
) -> None:
    """Remove one or more secrets; containers keep their copies."""
    if everything == bool(secrets):
        raise click.ClickException("`pyengine secret rm` requires one argument, or the --all flag")

    def remove_one(name: str) -> str | None:
        try:
            return engine.secrets.remove(name)
        except NotFoundError:
            if not ignore:
                raise
            return None

    for_each([one.id for one in engine.secrets.every()] if everything else secrets, remove_one)


@click.command()
@click.argument("secret")
@click.pass_obj
def exists(engine: Engine, /, secret: str) -> int:
    """Say by the exit status whether a secret exists: 0, or 1 if not."""
    try:
        engine.secrets.find(secret)
    except NotFoundError:
        return 1
    return 0
