"""Reads and writes JSON without importing ``json``, which would cost 5 ms (docs/adr/0002)."""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from _json import encode_basestring_ascii as _quote
    from _json import make_scanner
except ImportError:  # a Python whose private module looks different
    from json.encoder import encode_basestring_ascii as _quote

    make_scanner = None  # type: ignore[assignment,misc]  # told apart in loads

_SPACE = " \t\n\r"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


# What the scanner of CPython takes its settings from; making a class takes longer.
_Settings: Any = type(sys.implementation)  # types.SimpleNamespace
_context = _Settings(
    strict=True,
    object_hook=None,
    object_pairs_hook=None,
    parse_float=float,
    parse_int=int,
    parse_constant=_refuse_constant,
    memo={},
)


def read(path: str) -> bytes:
    """The whole of a small file of our own."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        text = b""
        while chunk := posix.read(fd, 1 << 16):
            text += chunk
        return text
    finally:
        posix.close(fd)


def loads(text: str) -> Any:
    """Parse one JSON value.

    Raises:
        ValueError: with line and column.
    """
    if make_scanner is not None:
        start = len(text) - len(text.lstrip(_SPACE))
        try:
            value, end = make_scanner(_context)(text, start)
        # broken text; without json.decoder, CPython 3.11 cannot even make the exception
        except (StopIteration, SystemError, ValueError):
            end = start
        if end > start and not text[end:].strip(_SPACE):
            return value
    import json

    return json.loads(text, parse_constant=_refuse_constant)


def dumps(value: object, indent: int = 0) -> str:
    """JSON text of dicts, lists, strings, numbers, booleans and None."""
    return _dump(value, "\n" if indent else "", " " * indent)


def _dump(value: object, newline: str, step: str) -> str:
    if isinstance(value, str):
        return _quote(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    colon = ": " if newline else ":"
    deeper = newline + step
    if isinstance(value, dict):
        items = [_quote(key) + colon + _dump(item, deeper, step) for key, item in value.items()]
        brackets = "{}"
    elif isinstance(value, list | tuple):
        items = [_dump(item, deeper, step) for item in value]
        brackets = "[]"
    else:
        raise TypeError(f"no JSON for {type(value).__name__}")
    if not items:
        return brackets
    return brackets[0] + deeper + f",{deeper}".join(items) + newline + brackets[1]
