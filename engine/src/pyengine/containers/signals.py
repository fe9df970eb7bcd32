"""Signals by name or number (signal(7))."""

from __future__ import annotations

import signal

from pyengine.errors import ConfigError

HIGHEST = 64


def number(text: str) -> int:
    """``TERM``, ``SIGTERM``, ``sigterm``, ``15``, ``RTMIN+3``.

    Raises:
        ConfigError: there is no such signal.
    """
    if _is_number(text):
        if 1 <= int(text) <= HIGHEST:
            return int(text)
        raise ConfigError(f"invalid signal: {text}")
    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+")
    if not sign:
        base, sign, offset = name.partition("-")
    if sign and base in ("RTMIN", "RTMAX") and _is_number(offset):
        value = getattr(signal, f"SIG{base}") + int(f"{sign}{offset}")
        if signal.SIGRTMIN <= value <= signal.SIGRTMAX:
            return int(value)
    found = getattr(signal, f"SIG{name}", None)
    if isinstance(found, signal.Signals) and not sign:
        return int(found)
    raise ConfigError(f"invalid signal: {text}")


def name(number: int) -> str:
    """``SIGTERM``; a real-time signal in between has only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(HIGHEST))
