"""GVariant's text format, in which annotations write a typed value (GLib, "GVariant Text Format").

``uint64 1000``, ``'text'``, ``true``, ``[1, 2]``, ``@as []``, ``('a', byte 0x2f)``, ``{'k': <1>}``
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Typed = tuple[str, Any]

_WORDS = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u",
    "int64": "x", "uint64": "t", "double": "d", "string": "s", "objectpath": "o", "signature": "g",
}  # fmt: skip
_RANGES = {
    "y": (0, 0xFF), "n": (-(1 << 15), (1 << 15) - 1), "q": (0, 0xFFFF),
    "i": (-(1 << 31), (1 << 31) - 1), "u": (0, (1 << 32) - 1),
    "x": (-(1 << 63), (1 << 63) - 1), "t": (0, (1 << 64) - 1),
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def parse(text: str) -> Typed:
    """A text as a D-Bus variant: its signature and its value.

    Raises:
        ValueError: it is not GVariant text, or a part is not of the type it must have.
    """
    reader = _Reader(text)
    try:
        found = reader.value("")
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    reader.skip()
    if reader.at != len(text):
        raise ValueError(f"{text[reader.at :]!r} follows the value")
    return found


class _Reader:
    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def take(self, char: str) -> bool:
        found = self.peek() == char
        self.at += found
        return found

    def need(self, char: str) -> None:
        if not self.take(char):
            raise ValueError(f"{char!r} is missing at {self.text[self.at :]!r}")

    def word(self, more: str = "") -> str:
        """Letters, digits and ``more`` from here on."""
        self.skip()
        start = self.at
        while (char := self.text[self.at : self.at + 1]) and (char.isalnum() or char in more):
            self.at += 1
        return self.text[start : self.at]

    def value(self, wanted: str) -> Typed:
        """The next value; ``wanted`` is the type it must have, or empty."""
        char = self.peek()
        if char == "@":
            self.at += 1
            return _checked(self.value(self.word("(){}")), wanted)
        if char in ("'", '"'):
            return _checked((wanted if wanted in ("o", "g") else "s", self.string(char)), wanted)
        if char == "[":
            return _checked(self.array(wanted), wanted)
        if char == "(":
            return _checked(self.tuple(wanted), wanted)
        if char == "{":
            return _checked(self.dictionary(wanted), wanted)
        if char == "<":
            self.at += 1
            inner = self.value("")
            self.need(">")
            return _checked(("v", inner), wanted)
        return self.plain(wanted)

    def plain(self, wanted: str) -> Typed:
        word = self.word("+-._")
        if word in _WORDS:
            return _checked(self.value(_WORDS[word]), wanted)
        if word in ("true", "false"):
            return _checked(("b", word == "true"), wanted)
        if wanted == "d" or (not wanted and _is_float(word)):
            return "d", float(word)
        kind = wanted or "i"
        if kind not in _RANGES:
            raise ValueError(f"{word!r} is not of type {kind}")
        number = int(word, 0)
        low, high = _RANGES[kind]
        if not low <= number <= high:
            raise ValueError(f"{word} is out of the range of type {kind}")
        return kind, number

    def string(self, quote: str) -> str:
        self.at += 1
        out = ""
        while (char := self.text[self.at : self.at + 1]) != quote:
            self.at += 1
            if char == "\\":
                escape = self.text[self.at : self.at + 1]
                self.at += 1
                digits = {"u": 4, "U": 8}.get(escape, 0)
                if digits:
                    out += chr(int(self.text[self.at : self.at + digits], 16))
                    self.at += digits
                    continue
                char = _ESCAPES.get(escape, escape)
            if not char:
                raise ValueError("a text does not end with its quotation mark")
            out += char
        self.at += 1
        return out

    def array(self, wanted: str) -> Typed:
        element = wanted[1:] if wanted[:1] == "a" else ""
        items: list[Any] = []
        self.need("[")
        while not self.take("]"):
            if items:
                self.need(",")
            element, item = self.value(element)
            items.append(item)
        if not element:
            raise ValueError("an empty array needs its type, such as @as []")
        return "a" + element, bytes(items) if element == "y" else items

    def tuple(self, wanted: str) -> Typed:
        from pyrun.linux.cgroups import dbus_wire

        expected = dbus_wire.types(wanted[1:-1]) if wanted[:1] == "(" else []
        found: list[Typed] = []
        self.need("(")
        while not self.take(")"):
            if found:
                self.need(",")
                if self.take(")"):  # ('one',)
                    break
            index = len(found)
            found.append(self.value(expected[index] if index < len(expected) else ""))
        return f"({''.join(kind for kind, _ in found)})", tuple(value for _, value in found)

    def dictionary(self, wanted: str) -> Typed:
        from pyrun.linux.cgroups import dbus_wire

        kinds = dbus_wire.types(wanted[2:-1]) if wanted[:2] == "a{" else ["", ""]
        key_kind, value_kind = kinds if len(kinds) == 2 else ("", "")
        found: dict[Any, Any] = {}
        self.need("{")
        while not self.take("}"):
            if found:
                self.need(",")
            key_kind, key = self.value(key_kind)
            self.need(":")
            value_kind, found[key] = self.value(value_kind)
        if not (key_kind and value_kind):
            raise ValueError("an empty dictionary needs its type, such as @a{sv} {}")
        return f"a{{{key_kind}{value_kind}}}", found


def _is_float(word: str) -> bool:
    number = word.lstrip("+-")[:1] in ".0123456789" and word[:2].lower() != "0x"
    return number and any(mark in word for mark in ".eE")


def _checked(found: Typed, wanted: str) -> Typed:
    if wanted and found[0] != wanted:
        raise ValueError(f"{found[1]!r} is of type {found[0]}, not {wanted}")
    return found
