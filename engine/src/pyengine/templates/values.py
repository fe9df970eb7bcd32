"""How Go sees, prints and compares the values that come out of JSON."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Fields that are maps in podman's Go types: a key they have not is no value rather than an error.
MAPS = {
    "Annotations", "Data", "ExposedPorts", "Labels", "LogOpts", "Networks", "Options", "Ports",
    "Storage", "Sysctls", "Volumes", "annotations", "labels",
}  # fmt: skip


class Map(dict):  # type: ignore[type-arg]  # values of any type
    """A dictionary whose keys are data; any other dictionary is a structure with fixed fields."""


class Heading(str):
    """What a table's template finds in place of a row; whatever it asks of it has a name too."""


class _NoValue:
    """What a map has under a key that it has not."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<no value>"


NO_VALUE = _NoValue()


def field(value: Any, name: str) -> Any:
    """A field of a structure or an entry of a map.

    Raises:
        KeyError: a structure has no such field.
        TypeError: this is neither.
    """
    if isinstance(value, Heading):
        return Heading(name.upper())
    if isinstance(value, Map):
        return value.get(name, NO_VALUE)
    if not isinstance(value, dict):
        raise TypeError
    if name not in value and name == "ID":
        name = "Id"  # podman answers to both
    found = value[name]
    if name in MAPS and (found is None or isinstance(found, dict)):
        return Map(found or {})
    return found


def type_name(value: Any) -> str:
    """The name of a value's type in Go."""
    if value is None or value is NO_VALUE:
        return "<nil>"
    if isinstance(value, Map):
        return "map[string]string"
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    return type(value).__name__


_TYPES = (
    (bool, "bool"), (int, "int"), (float, "float64"), (str, "string"), (list, "[]interface {}"),
    (tuple, "[]interface {}"), (dict, "struct"),
)  # fmt: skip


def truth(value: Any) -> bool:
    """Whether Go's ``if`` takes it: not zero, nil or empty; a structure always is."""
    if isinstance(value, dict) and not isinstance(value, Map):
        return True
    return bool(value)


def text(value: Any) -> str:
    """As Go prints a value with ``%v``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(text, value))}]"
    if isinstance(value, Map):
        return f"map[{' '.join(f'{key}:{text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, dict):
        return f"{{{' '.join(map(text, value.values()))}}}"
    return "<nil>" if value is None else str(value)


def number(value: float) -> str:
    """A float as Go's ``%v``: the shortest digits; an exponent of two digits beyond 1e21."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e21:
        if value == int(value):
            return str(int(value)) if abs(value) < 2**53 else f"{value:.0f}"
        return repr(value)
    digits, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        digits, _, exponent = f"{value:.17e}".partition("e")
        digits = digits.rstrip("0")
    return f"{digits.removesuffix('.0')}e{exponent[0]}{exponent[1:].zfill(2)}"
