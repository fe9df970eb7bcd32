"""The D-Bus client: bytes as the D-Bus specification has them, and peers that refuse."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyrun.errors import KernelError
from pyrun.linux.cgroups import dbus, dbus_wire

TARGET = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")


def test_a_signature_splits_into_complete_types() -> None:
    assert dbus_wire.types("ssa(sv)a(sa(sv))ay") == ["s", "s", "a(sv)", "a(sa(sv))", "ay"]


@pytest.mark.parametrize("signature", ["a", "(s", "()", "z", "a{sv", "s)"])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(ValueError, match="not a D-Bus signature"):
        dbus_wire.types(signature)


@pytest.mark.parametrize(
    ("signature", "value", "data"),
    [
        ("y", 7, "07"),
        ("b", True, "01000000"),
        ("n", -2, "feff"),
        ("t", 1, "0100000000000000"),
        ("d", 1.0, "000000000000f03f"),
        ("s", "foo", "03000000 666f6f00"),
        ("o", "/a", "02000000 2f6100"),
        ("g", "a(sv)", "05 6128737629 00"),
        ("v", ("u", 5), "01 75 00 00 05000000"),
        ("ay", b"\x01\x02", "02000000 0102"),
        ("au", [1, 2], "08000000 01000000 02000000"),
        # the padding in front of the first element is there, but is not counted
        ("at", [1], "08000000 00000000 0100000000000000"),
        ("a(ss)", [], "00000000 00000000"),
        ("(a(s)u)", ([], 7), "00000000 00000000 07000000"),
        ("(yt)", (1, 2), "01 00000000000000 0200000000000000"),
        ("a{sy}", {"k": 9}, "07000000 00000000 01000000 6b00 09"),
    ],
)
def test_a_value_is_marshalled_as_the_specification_has_it(
    signature: str, value: Any, data: str
) -> None:
    expected = bytes.fromhex(data)
    assert dbus_wire.marshal(signature, [value]) == expected
    assert dbus_wire.unmarshal(signature, expected, "<") == [value]


def test_values_are_aligned_after_one_another() -> None:
    data = dbus_wire.marshal("yus", (1, 2, "x"))
    assert data == bytes.fromhex("01000000 02000000 01000000 7800")


def test_the_other_byte_order_is_read_too() -> None:
    assert dbus_wire.unmarshal("ua(s)", bytes.fromhex("00000007 00000006 00000001 6100"), ">") == [
        7,
        [("a",)],
    ]


@pytest.mark.parametrize(
    ("signature", "value"), [("y", 256), ("u", -1), ("s", 5), ("(ss)", ("a",)), ("v", "s")]
)
def test_a_value_of_another_type_is_refused(signature: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"is not of D-Bus type|zip\(\)|unpack"):
        dbus_wire.marshal(signature, [value])


@pytest.mark.parametrize(
    ("signature", "data"),
    [
        ("u", "010000"),
        ("s", "05000000 6100"),
        ("s", "01000000 6161"),
        ("au", "ff000000 01000000"),
        ("v", "02 7575 00 01000000 01000000"),
    ],
)
def test_truncated_or_false_bytes_are_refused(signature: str, data: str) -> None:
    with pytest.raises(ValueError, match="D-Bus"):
        dbus_wire.unmarshal(signature, bytes.fromhex(data), "<")


def test_a_method_call_has_the_header_of_the_specification() -> None:
    data = dbus_wire.method_call(3, TARGET, "s", ("hi",))
    # little endian, method call, no flags, version 1, body length, serial
    assert data[:12] == bytes.fromhex("6c010001 07000000 03000000")
    assert len(data) == dbus_wire.message_length(data[:16])
    assert (len(data) - 7) % 8 == 0
    assert data[-7:] == bytes.fromhex("02000000 686900")
    message = dbus_wire.parse(data)
    assert (message.kind, message.path, message.interface, message.member) == (1, *TARGET[1:])
    assert message.arguments == ["hi"]


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match="not a D-Bus message"):
        dbus_wire.message_length(b"HTTP/1.1 400 Bad")
    huge = struct.pack("<4sIII", b"l\x02\0\x01", 1 << 28, 1, 0)
    with pytest.raises(ValueError, match="not a D-Bus message"):
        dbus_wire.message_length(huge)


def answer(kind: int, serial: int, signature: str = "", *values: Any, error: str = "") -> bytes:
    fields: list[tuple[int, tuple[str, Any]]] = [(5, ("u", serial))]
    if error:
        fields.append((4, ("s", error)))
    if signature:
        fields.append((8, ("g", signature)))
    return message(kind, fields, signature, *values)


def message(kind: int, fields: list[Any], signature: str, *values: Any) -> bytes:
    body = dbus_wire.marshal(signature, values)
    head = dbus_wire.marshal("yyyyuua(yv)", (ord("l"), kind, 0, 1, len(body), 9, fields))
    return head + bytes(-len(head) % 8) + body


def job_removed(job: str, result: str) -> bytes:
    fields = [
        (1, ("o", "/org/freedesktop/systemd1")),
        (2, ("s", "org.freedesktop.systemd1.Manager")),
        (3, ("s", "JobRemoved")),
        (8, ("g", "uoss")),
    ]
    return message(4, fields, "uoss", 1, job, "x.scope", result)


@contextmanager
def peer(directory: Path, talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket on which ``talk`` serves one connection."""
    path = str(directory / "bus")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join(60)
        assert not thread.is_alive()


def let_in(connection: socket.socket) -> None:
    expect(connection, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
    connection.sendall(b"DATA\r\nOK 1234deadbeef\r\n")


def expect(connection: socket.socket, data: bytes) -> None:
    assert connection.recv(len(data), socket.MSG_WAITALL) == data


def next_call(connection: socket.socket) -> dbus_wire.Message:
    header = connection.recv(16, socket.MSG_WAITALL)
    rest = dbus_wire.message_length(header) - 16
    return dbus_wire.parse(header + connection.recv(rest, socket.MSG_WAITALL))


def test_a_call_returns_the_values_of_its_answer(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        let_in(connection)
        assert next_call(connection).arguments == ["a", 1]
        connection.sendall(job_removed("/job/1", "done"))  # kept for later
        connection.sendall(answer(dbus_wire.METHOD_RETURN, 1, "su", "yes", 5))

    with peer(tmp_path, talk) as path:
        connection = dbus.Connection(path, bus=False)
        assert connection.call(TARGET, "su", ("a", 1)) == ["yes", 5]
        found = connection.wait_for_signal(lambda it: it.member == "JobRemoved", "wait")
        assert found.arguments[3] == "done"
        connection.close()


def test_a_bus_is_greeted_first(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        let_in(connection)
        assert next_call(connection).member == "Hello"
        connection.sendall(answer(dbus_wire.METHOD_RETURN, 1, "s", ":1.1"))

    with peer(tmp_path, talk) as path:
        dbus.Connection(path, bus=True).close()


def test_an_error_keeps_its_name_and_text(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        let_in(connection)
        next_call(connection)
        connection.sendall(answer(dbus_wire.ERROR, 1, "s", "not for you", error="a.b.Denied"))

    with peer(tmp_path, talk) as path:
        connection = dbus.Connection(path, bus=False)
        with pytest.raises(dbus.CallError, match=r"call Hello at .*: not for you \(a.b.Denied\)"):
            connection.call(TARGET)
        connection.close()


def test_a_peer_that_refuses_the_user_is_named(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        expect(connection, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        connection.sendall(b"REJECTED EXTERNAL\r\n")

    with peer(tmp_path, talk) as path, pytest.raises(KernelError) as caught:
        dbus.Connection(path, bus=False)
    assert f"authenticate at {path}" in str(caught.value)
    assert "REJECTED EXTERNAL" in str(caught.value)


def test_a_peer_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        let_in(connection)
        next_call(connection)
        assert connection.recv(1) == b""  # until the other side has given up

    with peer(tmp_path, talk) as path:
        connection = dbus.Connection(path, bus=False, timeout_s=0.1)
        with pytest.raises(KernelError, match=r"no answer from .* within 0.1 s"):
            connection.call(TARGET)
        connection.close()


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_peer_that_hangs_up_or_talks_nonsense_is_an_error(tmp_path: Path, words: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        let_in(connection)
        next_call(connection)
        connection.sendall(words)

    with peer(tmp_path, talk) as path:
        connection = dbus.Connection(path, bus=False)
        with pytest.raises(KernelError, match="call Hello at"):
            connection.call(TARGET)
        connection.close()


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=f"connect to {tmp_path}/none: No such file"):
        dbus.Connection(f"{tmp_path}/none", bus=False)
