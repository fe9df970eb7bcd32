"""The part of Go's templates that scripts use with ``--format``: fields and literal text."""

from __future__ import annotations

import re

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ACTION = re.compile(r"{{-?\s*\.(\w+)\s*-?}}")
_ESCAPES = {"\\n": "\n", "\\t": "\t"}


def render(form: str, fields: Mapping[str, str]) -> str:
    """One line: ``form`` with each ``{{.Name}}`` replaced by the field of that name.

    Raises:
        ConfigError: a field is unknown, or the template does more than naming fields.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise ConfigError(
                f"--format {form}: no field {match[1]}; there are {', '.join(sorted(fields))}"
            )
        return fields[match[1]]

    text = form.removeprefix("table ")
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    line = _ACTION.sub(value, text)
    if "{{" in _ACTION.sub("", text):
        raise ConfigError(f"--format {form}: only fields such as {{{{.ID}}}} are known here")
    return line
