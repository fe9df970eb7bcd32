"""What the values of several options have in common."""

from __future__ import annotations

from pyengine.errors import ConfigError

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def is_name(text: str) -> bool:
    """Whether a container or a volume may have this name: ``[a-zA-Z0-9][a-zA-Z0-9_.-]*``."""
    inner = text.replace("_", "").replace(".", "").replace("-", "")
    return inner.isascii() and inner.isalnum() and text[0].isalnum()


def size(option: str, text: str) -> int:
    """``64m`` in bytes."""
    import re  # here and below: most containers need none of it, and it takes 8 ms

    match = re.fullmatch(r"([0-9]{1,20}(?:\.[0-9]+)?)([bkmgt]?)(i?b)?", text.strip().lower())
    if not match:
        raise ConfigError(f"{option} {text}: invalid size: give a number and b, k, m or g")
    return int(float(match[1]) * UNITS[match[2]])
