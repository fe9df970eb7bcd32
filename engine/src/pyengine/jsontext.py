"""Reads and writes JSON without importing ``json``, whose ``re`` and ``enum`` cost 10 ms."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # a Python whose private module looks different (docs/adr/0002)
    make_encoder = make_scanner = None  # type: ignore[assignment,misc]  # told apart below

_SPACE = " \t\n\r"


class _Context:
    """What the scanner takes its settings from; they are those of ``json.loads``."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float
    memo: dict[str, str] = {}


def loads(text: str | bytes) -> Any:
    """Parse one JSON value.

    Raises:
        ValueError: with line and column.
    """
    if isinstance(text, bytes):
        text = text.decode()
    if make_scanner is not None:
        try:
            start = len(text) - len(text.lstrip(_SPACE))
            value, end = make_scanner(_Context)(text, start)  # type: ignore[arg-type]  # duck typed
            if not text[end:].strip(_SPACE):
                return value
        # Without json.decoder, CPython 3.11 cannot even make its exception.
        except (StopIteration, SystemError, ValueError):
            pass  # json says what is wrong
    import json

    return json.loads(text)


def dumps(value: object) -> str:
    """JSON text in ASCII, as ``json.dumps``."""
    if make_encoder is None:
        import json

        return json.dumps(value)
    encode = make_encoder(
        {}, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True
    )
    return "".join(encode(value, 0))


def pretty(value: object, indent: int) -> str:
    """JSON text in lines, as ``json.dumps`` writes it with ``indent``."""
    return _pretty(value, "\n", " " * indent)


def _pretty(value: object, line: str, step: str) -> str:
    """``line`` begins a line of what this value is in."""
    if not value or not isinstance(value, (dict, list, tuple)):
        return dumps(value)
    below = f"{line}{step}"
    if isinstance(value, dict):
        rows = [f"{dumps(str(key))}: {_pretty(one, below, step)}" for key, one in value.items()]
        return f"{{{below}{f',{below}'.join(rows)}{line}}}"
    rows = [_pretty(one, below, step) for one in value]
    return f"[{below}{f',{below}'.join(rows)}{line}]"


def _refuse(value: object) -> object:
    raise TypeError(f"no JSON for {type(value).__name__}")
