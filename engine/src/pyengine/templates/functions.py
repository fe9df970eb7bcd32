"""The functions of templates: Go's own, and those that docker and podman add."""

from __future__ import annotations

from pyengine.templates.values import NO_VALUE, Heading, Map, field, number, text, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_MAX_WIDTH = 1_000_000  # Go's own limit
_DIGITS = tuple("0123456789")


class CallError(Exception):
    """A function cannot do this with these arguments."""


def quote(value: str) -> str:
    """A string as Go's ``%q`` writes it."""
    escapes = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
               "\v": "\\v", "\\": "\\\\", '"': '\\"'}  # fmt: skip

    def shown(one: str) -> str:
        if one in escapes:
            return escapes[one]
        if one.isprintable():
            return one
        code = ord(one)
        if code < 0x80:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return f'"{"".join(map(shown, value))}"'


def to_json(value: Any) -> str:
    """As Go's encoder without HTML escapes: maps sorted, no spaces."""
    import json

    if value is NO_VALUE:
        value = None
    encoded = json.dumps(_sorted_maps(value), separators=(",", ":"), ensure_ascii=False)
    for one in "\u2028\u2029":
        encoded = encoded.replace(one, f"\\u{ord(one):04x}")
    return encoded


def _sorted_maps(value: Any) -> Any:
    if isinstance(value, Map):
        return {key: _sorted_maps(value[key]) for key in sorted(value)}
    if isinstance(value, dict):
        return {key: _sorted_maps(field(value, key)) if value[key] is not None else None
                for key in value}  # fmt: skip
    return [_sorted_maps(one) for one in value] if isinstance(value, list | tuple) else value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Heading):
            value = Heading(str(key).upper())
        elif value is None or value is NO_VALUE:
            raise CallError("index of untyped nil")
        elif isinstance(value, dict):
            if not isinstance(key, str):
                raise CallError(f"value has type {type_name(key)}; should be string")
            value = value.get(key, "")
        elif isinstance(value, list | tuple | str):
            if not isinstance(key, int) or isinstance(key, bool):
                raise CallError(f"cannot index slice/array with type {type_name(key)}")
            if not 0 <= key < len(value):
                raise CallError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise CallError(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise CallError(f"can't slice item of type {type_name(value)}")
    if len(bounds) > (2 if isinstance(value, str) else 3):
        raise CallError(f"too many slice indexes: {len(bounds)}")
    numbers = [0, len(value)]
    for place, bound in enumerate(bounds[:2]):
        if not isinstance(bound, int) or isinstance(bound, bool):
            raise CallError(f"cannot index slice/array with type {type_name(bound)}")
        if not 0 <= bound <= len(value):
            raise CallError(f"index out of range: {bound}")
        numbers[place] = bound
    if numbers[0] > numbers[1]:
        raise CallError(f"invalid slice index: {numbers[0]} > {numbers[1]}")
    return value[numbers[0] : numbers[1]]


def _length(value: Any) -> int:
    if not isinstance(value, str | list | tuple | dict):
        raise CallError(f"len of {'nil pointer' if value is None else 'type ' + type_name(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _kind(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        raise CallError("non-comparable type")
    return type_name(value)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        if (first is None) == (other is None) and _kind(first) != _kind(other):
            raise CallError("incompatible types for comparison")
        if first == other and type(first) is not type(None):
            return True
        if first is None and other is None:
            return True
    return False


def _less(first: Any, second: Any) -> bool:
    kinds = {_kind(first), _kind(second)}
    if len(kinds) > 1:
        raise CallError("incompatible types for comparison")
    if kinds & {"bool", "<nil>"}:
        raise CallError("invalid type for comparison")
    return bool(first < second)


def _pad(value: str, left: int, right: int) -> str:
    return f"{' ' * left}{value}{' ' * right}" if value else value


def _truncate(value: str, length: int) -> str:
    return value[: max(0, length)]


def _title(value: str) -> str:
    """Go's strings.Title: the first letter of each word; the others stay."""
    result, in_word = "", False
    for one in value:
        result += one if in_word else one.title()
        in_word = one.isalnum() or one in "_'"
    return result


def _print(*values: Any) -> str:
    """Go's Sprint: a space between operands when neither is a string."""
    result = ""
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            result += " "
        result += text(value)
    return result


def _println(*values: Any) -> str:
    return f"{' '.join(map(text, values))}\n"


def _escape(table: dict[str, str]) -> Callable[..., str]:
    def escape(*values: Any) -> str:
        return "".join(table.get(one, one) for one in _print(*values))

    return escape


def _query(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values))


def printf(form: str, *values: Any) -> str:
    """Go's Sprintf, with its notes on verbs that do not fit."""
    result, place, used = "", 0, 0
    while place < len(form):
        one = form[place]
        place += 1
        if one != "%":
            result += one
            continue
        begin = place
        while place < len(form) and form[place] in "+-# 0":
            place += 1
        flags = form[begin:place]
        width, place, used = _count(form, place, values, used)
        precision = None
        if form[place : place + 1] == ".":
            precision, place, used = _count(form, place + 1, values, used)
            precision = precision or 0
        verb = form[place : place + 1]
        place += 1
        if not verb:
            result += "%!(NOVERB)"
        elif verb == "%":
            result += "%"
        elif used >= len(values):
            result += f"%!{verb}(MISSING)"
        else:
            result += _padded(_formatted(verb, flags, precision, values[used]), flags, width,
                              values[used])  # fmt: skip
            used += 1
    if used < len(values):
        extra = ", ".join(f"{type_name(value)}={text(value)}" for value in values[used:])
        result += f"%!(EXTRA {extra})"
    return result


def _count(form: str, place: int, values: Any, used: int) -> tuple[int | None, int, int]:
    """A width or precision, its own or an argument's."""
    if form[place : place + 1] == "*" and used < len(values):
        given = values[used]
        good = type(given) is int and abs(given) <= _MAX_WIDTH
        return (given if good else None), place + 1, used + 1
    begin = place
    while form[place : place + 1] in _DIGITS:
        place += 1
    digits = form[begin:place]
    return (min(int(digits), _MAX_WIDTH) if digits else None), place, used


def _formatted(verb: str, flags: str, precision: int | None, value: Any) -> str:
    number_like = isinstance(value, int | float) and not isinstance(value, bool)
    if verb == "v":
        return _cut(quote(value) if "#" in flags and isinstance(value, str) else text(value),
                    None)  # fmt: skip
    if verb == "T":
        return type_name(value)
    if isinstance(value, list | tuple):
        return f"[{' '.join(_formatted(verb, flags, precision, one) for one in value)}]"
    if isinstance(value, str) and verb in "sqxX":
        shown = _cut(value, precision)
        raw = shown.encode("utf-8", "surrogateescape").hex()
        return {"s": shown, "q": quote(shown), "x": raw, "X": raw.upper()}[verb]
    if verb == "t" and isinstance(value, bool):
        return text(value)
    if number_like and isinstance(value, int) and verb in "bdoxXcqU":
        sign = "+" if "+" in flags and verb in "bdoxX" else ""
        return {
            "d": f"{value:{sign}d}", "b": f"{value:{sign}b}", "o": f"{value:{sign}o}",
            "x": f"{value:{sign}{'#' if '#' in flags else ''}x}", "X": f"{value:{sign}X}",
            "c": _character(value), "U": f"U+{value:04X}",
            "q": f"'{_character(value)}'",
        }[verb]  # fmt: skip
    if isinstance(value, float) and verb in "eEfFgG":
        sign = "+" if "+" in flags else ""
        if verb in "gG" and precision is None:
            return number(value)
        return f"{value:{sign}.{6 if precision is None else precision}{verb}}"
    return f"%!{verb}({type_name(value)}={text(value)})"


def _character(code: int) -> str:
    return chr(code) if 0 <= code < 0x110000 else "\ufffd"


def _cut(shown: str, precision: int | None) -> str:
    return shown if precision is None else shown[:precision]


def _padded(shown: str, flags: str, width: int | None, value: Any) -> str:
    if width is None:
        return shown
    if width < 0 or "-" in flags:
        return shown.ljust(abs(width))
    if "0" in flags and isinstance(value, int | float):
        return shown.zfill(width)
    return shown.rjust(width)


_HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
_SCRIPT = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026",
           "=": "\\u003D", "\n": "\\u000A", "\r": "\\u000D", "\t": "\\u0009"}  # fmt: skip

# and, or stop at the argument that decides: the evaluator calls them.
LAZY = {"and", "or"}

# name: (the function, its arguments' types; the last one repeats after "...")
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "eq": (_equal, (object, ...)),
    "ge": (lambda first, second: not _less(first, second), (object, object)),
    "gt": (lambda first, second: _less(second, first), (object, object)),
    "html": (_escape(_HTML), (object, ...)),
    "index": (_index, (object, ...)),
    "js": (_escape(_SCRIPT), (object, ...)),
    "join": (lambda values, by: by.join(map(text, values)), (list, str)),
    "json": (to_json, (object,)),
    "le": (lambda first, second: not _less(second, first), (object, object)),
    "len": (_length, (object,)),
    "lower": (lambda value: value.lower(), (str,)),
    "lt": (_less, (object, object)),
    "ne": (lambda first, second: not _equal(first, second), (object, object)),
    "not": (lambda value: not truth(value), (object,)),
    "pad": (_pad, (str, int, int)),
    "print": (_print, (object, ...)),
    "printf": (printf, (str, object, ...)),
    "println": (_println, (object, ...)),
    "slice": (_slice, (object, ...)),
    "split": (lambda value, by: value.split(by) if by else list(value), (str, str)),
    "title": (_title, (str,)),
    "truncate": (_truncate, (str, int)),
    "upper": (lambda value: value.upper(), (str,)),
    "urlquery": (_query, (object, ...)),
}
NAMES = LAZY | set(FUNCTIONS)
