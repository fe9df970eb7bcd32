"""The part of Go's templates that scripts use with ``--format``: values by path, and literal text.

``{{.Name}}``, ``{{.State.Pid}}``, ``{{json .Config.Labels}}``, ``{{index .Config.Labels "key"}}``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pyengine.cli.report import table
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ACTION = re.compile(r"""{{-?\s*(?:(json)\s+|(index)\s+)?(\.[\w.]*)\s*((?:"[^"]*"|\d+)?)\s*-?}}""")
_ESCAPES = {"\\n": "\n", "\\t": "\t"}
_TABLE = "table "


def render(form: str, fields: Mapping[str, Any]) -> str:
    """``form`` with each action replaced by the value it names, written as Go would.

    Raises:
        ConfigError: a field is unknown, or the template does more than naming fields.
    """

    def value(match: re.Match[str]) -> str:
        as_json, index, path, key = match.groups()
        if bool(index) != bool(key):
            raise ConfigError(f"--format {form}: index takes a path and a key")
        found = _look_up(form, fields, path)
        if index:
            found = _element(form, found, json.loads(key))
        return json.dumps(found, separators=(",", ":")) if as_json else text(found)

    for escape, character in _ESCAPES.items():
        form = form.replace(escape, character)
    if "{{" in _ACTION.sub("", form):
        raise ConfigError(
            f"--format {form}: only fields such as {{{{.Id}}}}, {{{{json .Field}}}} and"
            ' {{index .Field "key"}} are known here'
        )
    return _ACTION.sub(value, form)


def lines(
    form: str, rows: Sequence[Mapping[str, Any]], headings: Mapping[str, str], *, heading: bool
) -> list[str]:
    """A line for each row; with ``table`` before the template, columns under ``headings``."""
    if not form.startswith(_TABLE):
        return [render(form, row) for row in rows]
    form = form.removeprefix(_TABLE)
    titles = {name: headings.get(name, name.upper()) for row in rows[:1] for name in row}
    cells = [render(form, row).split("\t") for row in rows]
    return table(render(form, titles or headings).split("\t") if heading else None, cells)


def _look_up(form: str, fields: Mapping[str, Any], path: str) -> Any:
    found: Any = fields
    for name in path.strip(".").split("."):
        if not name:  # the whole of it
            continue
        if isinstance(found, dict) and name not in found and name == "ID":
            name = "Id"  # podman answers to both
        if not isinstance(found, dict) or name not in found:
            there = f"; there are {', '.join(sorted(found))}" if isinstance(found, dict) else ""
            raise ConfigError(f"--format {form}: no field {name} in {path}{there}")
        found = found[name]
    return found


def _element(form: str, found: Any, key: str | int) -> Any:
    """Go's index: nothing where a map has no such key."""
    if isinstance(found, dict) or found is None:
        return (found or {}).get(key, "")
    if isinstance(found, list) and isinstance(key, int) and key < len(found):
        return found[key]
    raise ConfigError(f"--format {form}: nothing has index {key}")


def text(value: Any) -> str:
    """As Go's templates print it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(map(text, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{text(value[key])}' for key in sorted(value))}]"
    return "<nil>" if value is None else str(value)


def option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-f``, ``--format`` of the inspect commands."""
    import click

    return click.option("-f", "--format", "form", default="", metavar="TEMPLATE",
                        help="json, or text with {{.Field}}s.")(function)  # fmt: skip


def print_objects(form: str, found: list[dict[str, Any]]) -> None:
    """The objects as one JSON list, or each by its template."""
    import click

    if form in ("", "json"):
        click.echo(json.dumps(found, indent=5) if found else "[]")
        return
    for one in found:
        click.echo(render(form, one))
