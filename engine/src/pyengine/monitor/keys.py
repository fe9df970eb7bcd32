"""The keys by which a user leaves an attached container (``--detach-keys``)."""

from __future__ import annotations

from pyengine.errors import ConfigError

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str) -> bytes:
    """The bytes that a terminal sends for ``ctrl-p,q``; none, and nothing detaches, for no keys.

    Raises:
        ConfigError: a key is neither one character nor ctrl- with a key that has a control code.
    """
    keys = b""
    for key in text.split(",") if text else []:
        name = key.removeprefix("ctrl-")
        if len(name) != 1 or not name.isascii():
            raise ConfigError(f"invalid detach keys: Unknown character: '{key}'")
        if name == key:
            keys += key.encode()
        elif name.lower() in _CONTROL:
            keys += bytes((_CONTROL.index(name.lower()),))
        else:
            raise ConfigError(f"invalid detach keys: Unknown character: '{key}'")
    return keys


class Matcher:
    """Finds the keys in what is typed; what may be their beginning is kept back."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def pass_on(self, data: bytes) -> tuple[bytes, bool]:
        """What to send on of ``data``, and whether the keys were typed after it."""
        data, self._held = self._held + data, b""
        if not self._keys:
            return data, False
        before, found, _ = data.partition(self._keys)
        if found:
            return before, True
        for length in range(min(len(data), len(self._keys) - 1), 0, -1):
            if data.endswith(self._keys[:length]):
                self._held = data[-length:]
                return data[:-length], False
        return data, False
