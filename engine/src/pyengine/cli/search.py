"""search: images in registries."""

from __future__ import annotations

import click

from pyengine.cli import access, fields
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.cli.report import is_json, table
from pyengine.errors import ConfigError, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DESCRIPTION_WIDTH = 44
HEADINGS = {"Name": "NAME", "Description": "DESCRIPTION"}
MORE_HEADINGS = {"Stars": "STARS", "Official": "OFFICIAL", "Automated": "AUTOMATED"}
_FILTERS = ("is-automated", "is-official", "stars")


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


def _filters(texts: tuple[str, ...]) -> list[Any]:
    tests = []
    for text in texts:
        key, _, value = text.partition("=")
        if key not in _FILTERS or (key == "stars" and not value.isdigit()):
            raise ConfigError(f"--filter {text}: invalid filter: use {', '.join(_FILTERS)}")
        if key == "stars":
            least = int(value)
            tests.append(lambda row, least=least: row["Stars"] >= least)
        else:
            column = key.removeprefix("is-").capitalize()
            expected = value in ("", "true")
            tests.append(lambda row, column=column, expected=expected: row[column] == expected)
    return tests


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
