"""search: images in registries."""

from __future__ import annotations

import click

from pyengine.cli import access, fields
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.cli.report import is_json, table
from pyengine.errors import ConfigError, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DESCRIPTION_WIDTH = 44
HEADINGS = {"Name": "NAME", "Description": "DESCRIPTION"}
MORE_HEADINGS = {"Stars": "STARS", "Official": "OFFICIAL", "Automated": "AUTOMATED"}


@click.command(cls=GoFlagsCommand)
@access.options
@click.option("--compatible", is_flag=True, help="Also stars, official and automated.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE",
              help="stars=N, is-official, is-automated.")  # fmt: skip
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a Go template.")
@click.option("--limit", type=click.IntRange(1), default=25, metavar="N", help="At most so many.")
@click.option("--list-tags", is_flag=True, help="List the tags of a repository.")
@click.option("--no-trunc", is_flag=True, help="Print whole descriptions.")
@click.argument("term")
def search(
    term: str,
    compatible: bool,
    filters: tuple[str, ...],
    form: str,
    limit: int,
    list_tags: bool,
    no_trunc: bool,
    **given: Any,
) -> None:
    """Look for images with TERM in their names, in one registry or all that are searched."""
    wanted = _filters(filters)
    reached = access.make(**given)
    if list_tags:
        if filters:
            raise click.UsageError("filters are not applicable to list tags result")
        _print_tags(term, reached, limit, form)
        return
    rows = [row for row in _found(term, reached, limit) if all(test(row) for test in wanted)]
    if is_json(form):
        click.echo(fields.render("{{json .Rows}}", {"Rows": rows}))
        return
    for row in rows:
        description = row["Description"]
        if not no_trunc and len(description) > DESCRIPTION_WIDTH:
            row["Description"] = f"{description[:DESCRIPTION_WIDTH]}..."
        row["Official"], row["Automated"] = ("[OK]" if row[key] else "" for key in
                                             ("Official", "Automated"))  # fmt: skip
    headings = {**HEADINGS, **(MORE_HEADINGS if compatible else {})}
    if form:
        lines = fields.lines(form, rows, {**HEADINGS, **MORE_HEADINGS}, heading=True, name="search")
    else:
        cells = [[str(row[key]) for key in headings] for row in rows]
        lines = table(list(headings.values()), cells) if rows else []
    for line in lines:
        click.echo(line)


def _filters(texts: tuple[str, ...]) -> list[Callable[[dict[str, Any]], bool]]:
    return [_filter(text) for text in texts]


def _filter(text: str) -> Callable[[dict[str, Any]], bool]:
    key, _, value = text.partition("=")
    if key == "stars" and value.isdigit():
        return lambda row: bool(row["Stars"] >= int(value))
    if key in ("is-official", "is-automated"):
        column, wanted = key.removeprefix("is-").capitalize(), value in ("", "true")
        return lambda row: bool(row[column] == wanted)
    raise ConfigError(f"--filter {text}: invalid filter: use stars=N, is-official or is-automated")


def _found(term: str, reached: Any, limit: int) -> list[dict[str, Any]]:
    from pyengine.images import searching

    hosts, words = searching.hosts(term)
    rows: list[dict[str, Any]] = []
    problems: list[RegistryError] = []
    for host in hosts:
        try:
            rows += searching.search(host, words, reached, limit)
        except RegistryError as error:
            problems.append(error)
    if problems and len(problems) == len(hosts):
        raise problems[0]
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    return rows


def _print_tags(term: str, reached: Any, limit: int, form: str) -> None:
    from pyengine.images import syncing
    from pyengine.images.transports.names import Place

    path = term.removeprefix("docker://")
    repository, tags = syncing.list_tags(Place("docker", path), reached)
    rows = [{"Name": repository, "Tag": tag} for tag in tags[:limit]]
    if is_json(form):
        click.echo(fields.render("{{json .Rows}}", {"Rows": [{"Name": repository, "Tags": tags}]}))
    elif form:
        for line in fields.lines(form, rows, {"Name": "NAME", "Tag": "TAG"}, heading=True):
            click.echo(line)
    else:
        for line in table(["NAME", "TAG"], [list(row.values()) for row in rows]):
            click.echo(line)
