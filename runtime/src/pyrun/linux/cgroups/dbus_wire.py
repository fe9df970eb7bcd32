"""D-Bus messages as bytes (D-Bus specification, "Type System" and "Message Protocol").

A value is what Python calls it; a variant is a pair (signature, value), a byte array ``bytes``, a
dictionary ``dict``. Written in the machine's byte order, read in either. No file descriptors.
"""

from __future__ import annotations

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4
HEADER_BYTES = 16
LIMIT_BYTES = 1 << 27  # the specification's maximum of one message

_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _, _SIGNATURE = range(1, 9)

_NUMBERS = {
    "y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d",
}  # fmt: skip
_ALIGNMENT = {
    "y": 1, "b": 4, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8, "d": 8,
    "s": 4, "o": 4, "g": 1, "a": 4, "v": 1, "(": 8, "{": 8,
}  # fmt: skip
_CLOSING = {"(": ")", "{": "}"}


class Message:
    """One message that was received; absent header fields are empty."""

    __slots__ = ("arguments", "error_name", "interface", "kind", "member", "path", "reply_serial")

    def __init__(self, kind: int, fields: dict[int, Any], arguments: list[Any]) -> None:
        self.kind = kind
        self.path: str = fields.get(_PATH, "")
        self.interface: str = fields.get(_INTERFACE, "")
        self.member: str = fields.get(_MEMBER, "")
        self.error_name: str = fields.get(_ERROR_NAME, "")
        self.reply_serial: int = fields.get(_REPLY_SERIAL, 0)
        self.arguments = arguments


def types(signature: str) -> list[str]:
    """The complete types of a signature, such as ``["s", "a(sv)"]`` of ``sa(sv)``.

    Raises:
        ValueError: it is not a signature, or has types that are not needed here.
    """
    found, start = [], 0
    while start < len(signature):
        end = _type_end(signature, start)
        found.append(signature[start:end])
        start = end
    return found


def _type_end(signature: str, start: int) -> int:
    code = signature[start : start + 1]
    if code == "a":
        return _type_end(signature, start + 1)
    end = start + 1
    if code in _CLOSING:
        while signature[end : end + 1] != _CLOSING[code]:
            end = _type_end(signature, end)
        if end > start + 1:
            return end + 1
    elif code in _ALIGNMENT:
        return end
    raise ValueError(f"{signature!r} is not a D-Bus signature")


def marshal(signature: str, values: Sequence[Any]) -> bytes:
    """``values`` one after the other, as the body of a message has them.

    Raises:
        ValueError: a value is not of its type.
    """
    out = bytearray()
    try:
        for kind, value in zip(types(signature), values, strict=True):
            _put(out, kind, value)
    except (struct.error, TypeError, AttributeError) as error:
        raise ValueError(f"{values!r} is not of D-Bus type {signature}: {error}") from error
    return bytes(out)


def _put(out: bytearray, kind: str, value: Any) -> None:
    code = kind[0]
    out += bytes(-len(out) % _ALIGNMENT[code])
    if code in _NUMBERS:
        out += struct.pack("=" + _NUMBERS[code], value)
    elif code in "so":
        raw = value.encode()
        out += struct.pack("=I", len(raw)) + raw + b"\0"
    elif code == "g":
        raw = value.encode()
        out += struct.pack("=B", len(raw)) + raw + b"\0"
    elif code == "v":
        inner, content = value
        _put(out, "g", inner)
        _put(out, inner, content)
    elif code == "a":
        _put_array(out, kind[1:], value)
    else:
        for inner, item in zip(types(kind[1:-1]), value, strict=True):
            _put(out, inner, item)


def _put_array(out: bytearray, element: str, value: Any) -> None:
    length_at = len(out)
    out += bytes(4)
    out += bytes(-len(out) % _ALIGNMENT[element[0]])  # not counted in the length
    start = len(out)
    if element == "y":
        out += value
    else:
        for item in value.items() if element[0] == "{" else value:
            _put(out, element, item)
    struct.pack_into("=I", out, length_at, len(out) - start)


def unmarshal(signature: str, data: bytes, order: str = "=") -> list[Any]:
    """The values of a body; ``order`` is ``<`` or ``>``.

    Raises:
        ValueError: the bytes are not of this signature.
    """
    values, at = [], 0
    try:
        for kind in types(signature):
            value, at = _get(data, at, kind, order)
            values.append(value)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"the bytes are not of D-Bus type {signature}: {error}") from error
    return values


def _get(data: bytes, at: int, kind: str, order: str) -> tuple[Any, int]:
    code = kind[0]
    at += -at % _ALIGNMENT[code]
    if code in _NUMBERS:
        layout = order + _NUMBERS[code]
        (value,) = struct.unpack_from(layout, data, at)
        return (bool(value) if code == "b" else value), at + struct.calcsize(layout)
    if code in "sog":
        (length,) = struct.unpack_from(order + ("B" if code == "g" else "I"), data, at)
        at += 1 if code == "g" else 4
        if data[at + length] != 0:
            raise ValueError("a D-Bus string does not end with a zero byte")
        return data[at : at + length].decode(), at + length + 1
    if code == "v":
        inner, at = _get(data, at, "g", order)
        if len(types(inner)) != 1:
            raise ValueError(f"a D-Bus variant has the signature {inner!r}")
        value, at = _get(data, at, inner, order)
        return (inner, value), at
    if code == "a":
        return _get_array(data, at, kind[1:], order)
    values = []
    for inner in types(kind[1:-1]):
        value, at = _get(data, at, inner, order)
        values.append(value)
    return tuple(values), at


def _get_array(data: bytes, at: int, element: str, order: str) -> tuple[Any, int]:
    (length,) = struct.unpack_from(order + "I", data, at)
    at += 4
    at += -at % _ALIGNMENT[element[0]]
    end = at + length
    if end > len(data):
        raise ValueError("a D-Bus array is longer than its message")
    if element == "y":
        return data[at:end], end
    items = []
    while at < end:
        item, at = _get(data, at, element, order)
        items.append(item)
    return (dict(items) if element[0] == "{" else items), end


def method_call(
    serial: int,
    target: tuple[str, str, str, str],
    signature: str = "",
    values: Sequence[Any] = (),
) -> bytes:
    """A method call.

    Args:
        serial: comes back as the reply's ``reply_serial``.
        target: destination (ignored by a peer that is no bus), path, interface, member.
        signature: of the arguments.
        values: the arguments.

    Raises:
        ValueError: an argument is not of its type.
    """
    body = marshal(signature, values)
    destination, path, interface, member = target
    fields: list[tuple[int, tuple[str, str]]] = [
        (_PATH, ("o", path)),
        (_INTERFACE, ("s", interface)),
        (_MEMBER, ("s", member)),
        (_DESTINATION, ("s", destination)),
    ]
    if signature:
        fields.append((_SIGNATURE, ("g", signature)))
    order = ord("l" if sys.byteorder == "little" else "B")
    head = marshal("yyyyuua(yv)", (order, METHOD_CALL, 0, 1, len(body), serial, fields))
    return head + bytes(-len(head) % 8) + body


def message_length(header: bytes) -> int:
    """The length of the whole message that begins with these 16 bytes.

    Raises:
        ValueError: no message begins so.
    """
    order = _order(header)
    body, _, fields = struct.unpack_from(order + "III", header, 4)
    total = HEADER_BYTES + fields + -fields % 8 + body
    if header[3] != 1 or total > LIMIT_BYTES:
        raise ValueError("what was received is not a D-Bus message")
    return int(total)


def parse(data: bytes) -> Message:
    """One whole message.

    Raises:
        ValueError: it is malformed.
    """
    order = _order(data)
    head = unmarshal("yyyyuua(yv)", data, order)
    fields = {number: value for number, (_, value) in head[6]}
    body = data[len(data) - head[4] :]
    return Message(head[1], fields, unmarshal(fields.get(_SIGNATURE, ""), body, order))


def _order(data: bytes) -> str:
    try:
        return {b"l": "<", b"B": ">"}[data[:1]]
    except KeyError as error:
        raise ValueError("what was received is not a D-Bus message") from error
