"""``--format`` with Go templates: lines for rows, columns under headings, objects of inspect."""

from __future__ import annotations

from pyengine import jsontext
from pyengine.cli import declare
from pyengine.cli.report import is_json, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyengine.templates.engine import Template

FORMAT = declare.option(
    "-f", "--format", "form", default="", metavar="TEMPLATE", help="json, or a Go template."
)

_ESCAPES = {"\\n": "\n", "\\t": "\t"}
_TABLE = "table "
_OVER_LIST = ("{{range.}}", "{{range.-}}", "{{-range.}}", "{{-range.-}}")
# What an image's config leaves out when it is empty; Go's type has the fields all the same.
_CONFIG: dict[str, Any] = {"User": "", "ExposedPorts": None, "Env": [], "Entrypoint": [], "Cmd": [],
           "Volumes": None, "WorkingDir": "", "Labels": None, "StopSignal": ""}  # fmt: skip


def render(form: str, fields: Mapping[str, Any], name: str = "inspect") -> str:
    """``form`` filled with the fields of one object; ``name`` is the command's, for messages.

    Raises:
        TemplateError: as Go would.
    """
    return _template(name, form).render(fields, name)


def _template(name: str, form: str) -> Template:
    from pyengine.templates.engine import Template  # only for those who ask for one

    return Template(name, _unescaped(form))


def lines(
    form: str,
    rows: Sequence[Mapping[str, Any]],
    headings: Mapping[str, str],
    *,
    heading: bool,
    name: str = "inspect",
) -> list[str]:
    """A line for each row; with ``table`` before the template, columns under ``headings``.

    A template that begins with ``{{range .}}`` is applied once, to the list.
    """
    if not form.startswith(_TABLE):
        template = _template(name, form)
        if "".join(form.split()).startswith(_OVER_LIST):
            return template.render(list(rows), name).splitlines()
        return [template.render(row, name) for row in rows]
    from pyengine.templates.values import Heading

    template = _template(name, _spaces_to_tabs(form.removeprefix(_TABLE).strip()))
    titles = {key: Heading(headings.get(key, key.upper())) for row in rows[:1] for key in row}
    titles.update((key, Heading(title)) for key, title in headings.items())
    cells = [template.render(row, name).split("\t") for row in rows]
    return table(template.render(titles, name).split("\t") if heading else None, cells)


def _spaces_to_tabs(form: str) -> str:
    """In a table, podman takes a space outside of the actions for the end of a column."""
    return "".join(
        piece if piece.startswith("{{") else piece.replace(" ", "\t") for piece in _pieces(form)
    )


def _unescaped(form: str) -> str:
    """A backslash with n or t outside of actions is what a shell's user means by it."""
    result = ""
    for piece in _pieces(form):
        shown = piece
        for escape, character in _ESCAPES.items():
            if not piece.startswith("{{"):
                shown = shown.replace(escape, character)
        result += shown
    return result


def _pieces(form: str) -> list[str]:
    """Text and actions by turns."""
    pieces, place = [], 0
    while (start := form.find("{{", place)) >= 0:
        end = form.find("}}", start)
        end = len(form) if end < 0 else end + 2
        pieces += [form[place:start], form[start:end]]
        place = end
    return [*pieces, form[place:]]


def print_objects(form: str, found: list[dict[str, Any]]) -> None:
    """The objects as one JSON list, or each by its template."""
    if not form or is_json(form):
        print(jsontext.pretty(found, 5))
        return
    rows = [{**one, "Config": {**_CONFIG, **(one.get("Config") or {})}} for one in found]
    for line in lines(form, rows, {}, heading=False):
        print(line)
