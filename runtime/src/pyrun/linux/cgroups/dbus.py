"""Just enough of D-Bus to ask systemd for a unit (D-Bus specification, "Message Protocol")."""

from __future__ import annotations

import _socket
import os
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
# Header fields
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
MAX_MESSAGE_BYTES = 1 << 24
BUS = "org.freedesktop.DBus"

NUMBERS = {"y": "B", "b": "I", "i": "i", "u": "I", "x": "q", "t": "Q"}
ALIGNMENT = {"y": 1, "b": 4, "i": 4, "u": 4, "x": 8, "t": 8, "s": 4, "o": 4, "g": 1, "v": 1}


class DBusError(Exception):
    """The answer to a call is an error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{message or 'refused'} ({name})")
        self.name = name


class Variant:
    """A value with its signature."""

    __slots__ = ("signature", "value")

    def __init__(self, signature: str, value: Any) -> None:
        self.signature = signature
        self.value = value


def split(signature: str) -> list[str]:
    """The complete types of a signature: ``sa(sv)`` is ``s`` and ``a(sv)``."""
    types, start, depth = [], 0, 0
    for index, letter in enumerate(signature):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter != "a" and depth == 0:
            types.append(signature[start : index + 1])
            start = index + 1
    return types


def _alignment(kind: str) -> int:
    return {"(": 8, "a": 4}.get(kind[0]) or ALIGNMENT[kind]


def pack(signature: str, values: list[Any]) -> bytes:
    """Marshal values, little endian, from an offset that is a multiple of 8."""
    out = bytearray()
    for kind, value in zip(split(signature), values, strict=True):
        _pack(out, kind, value)
    return bytes(out)


def _pad(out: bytearray, alignment: int) -> None:
    out += bytes(-len(out) % alignment)


def _pack(out: bytearray, kind: str, value: Any) -> None:
    _pad(out, _alignment(kind))
    if kind in NUMBERS:
        out += struct.pack("<" + NUMBERS[kind], value)
    elif kind in "so":
        data = value.encode()
        out += struct.pack("<I", len(data)) + data + b"\0"
    elif kind == "g":
        out += bytes((len(value),)) + value.encode() + b"\0"
    elif kind == "v":
        _pack(out, "g", value.signature)
        _pack(out, value.signature, value.value)
    elif kind[0] == "(":
        for inner, part in zip(split(kind[1:-1]), value, strict=True):
            _pack(out, inner, part)
    else:
        at = len(out)
        out += bytes(4)
        _pad(out, _alignment(kind[1:]))
        start = len(out)
        for part in value:
            _pack(out, kind[1:], part)
        struct.pack_into("<I", out, at, len(out) - start)


def unpack(signature: str, data: bytes, order: str = "<") -> list[Any]:
    """The values of a body; variants become their values."""
    at, values = 0, []
    for kind in split(signature):
        value, at = _unpack(kind, data, at, order)
        values.append(value)
    return values


def _unpack(kind: str, data: bytes, at: int, order: str) -> tuple[Any, int]:
    at += -at % _alignment(kind)
    if kind in NUMBERS:
        (value,) = struct.unpack_from(order + NUMBERS[kind], data, at)
        return value, at + struct.calcsize(NUMBERS[kind])
    if kind in "so":
        (length,) = struct.unpack_from(order + "I", data, at)
        return data[at + 4 : at + 4 + length].decode(), at + 5 + length
    if kind == "g":
        return data[at + 1 : at + 1 + data[at]].decode(), at + 2 + data[at]
    if kind == "v":
        signature, at = _unpack("g", data, at, order)
        return _unpack(signature, data, at, order)
    parts = []
    if kind[0] == "(":
        for inner in split(kind[1:-1]):
            part, at = _unpack(inner, data, at, order)
            parts.append(part)
        return tuple(parts), at
    (length,) = struct.unpack_from(order + "I", data, at)
    at += 4
    at += -at % _alignment(kind[1:])
    end = at + length
    while at < end:
        part, at = _unpack(kind[1:], data, at, order)
        parts.append(part)
    return parts, at


class Message:
    """One message that was read."""

    __slots__ = ("body", "fields", "kind")

    def __init__(self, kind: int, fields: dict[int, Any], body: list[Any]) -> None:
        self.kind = kind
        self.fields = fields
        self.body = body


class Connection:
    """A connection to a bus, or to systemd's own socket, which speaks the same without a bus."""

    def __init__(self, path: str, uid: int, *, bus: bool, timeout_s: float) -> None:
        """Connect and say who we are.

        Args:
            path: of the socket.
            uid: this user as the other side sees it.
            bus: whether it is a bus, which wants to be greeted.
            timeout_s: for every answer.

        Raises:
            OSError: nobody listens, or the other side does not take us.
        """
        self._serial = 0
        self._timeout_s = timeout_s
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._buffer = b""
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(path)
            self._socket.sendall(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
            answer = self._line()
            if not answer.startswith(b"OK "):
                raise PermissionError(1, f"refused us: {answer.decode(errors='replace')}", path)
            self._socket.sendall(b"BEGIN\r\n")
            if bus:
                self.call(BUS, "/org/freedesktop/DBus", BUS, "Hello")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(104, os.strerror(104))
        self._buffer += data

    def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *values: Any,
    ) -> list[Any]:
        """Call a method and return what it returns.

        Raises:
            DBusError: the method refused.
            OSError: the connection broke, or no answer came in time.
        """
        self._serial += 1
        fields = [
            (PATH, Variant("o", path)),
            (INTERFACE, Variant("s", interface)),
            (MEMBER, Variant("s", member)),
            (DESTINATION, Variant("s", destination)),
        ]
        if signature:
            fields.append((SIGNATURE, Variant("g", signature)))
        body = pack(signature, list(values))
        head = b"l" + bytes((CALL, 0, 1)) + struct.pack("<II", len(body), self._serial)
        header = bytearray(head)
        _pack(header, "a(yv)", fields)
        _pad(header, 8)
        self._socket.sendall(bytes(header) + body)
        while True:
            answer = self.read()
            if answer.fields.get(REPLY_SERIAL) != self._serial:
                self.unexpected(answer)
            elif answer.kind == ERROR:
                text = answer.body[0] if answer.body else ""
                raise DBusError(answer.fields.get(ERROR_NAME, ""), str(text))
            else:
                return answer.body

    def unexpected(self, message: Message) -> None:
        """A signal that comes between a call and its answer; a subclass may want it."""

    def read(self) -> Message:
        """The next message.

        Raises:
            OSError: the connection broke, or none came in time.
        """
        deadline = time.monotonic() + self._timeout_s
        while len(self._buffer) < 16:
            self._receive()
        order = "<" if self._buffer[:1] == b"l" else ">"
        body_length, _, fields_length = struct.unpack_from(order + "III", self._buffer, 4)
        start = 16 + fields_length + -fields_length % 8
        if start + body_length > MAX_MESSAGE_BYTES:
            raise OSError(90, os.strerror(90))
        while len(self._buffer) < start + body_length:
            if time.monotonic() > deadline:
                raise TimeoutError(110, os.strerror(110))
            self._receive()
        pairs, _ = _unpack("a(yv)", self._buffer, 12, order)
        fields = dict(pairs)
        body = self._buffer[start : start + body_length]
        kind = self._buffer[1]
        self._buffer = self._buffer[start + body_length :]
        return Message(kind, fields, unpack(fields.get(SIGNATURE, ""), body, order))
