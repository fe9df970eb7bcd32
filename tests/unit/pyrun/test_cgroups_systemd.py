"""The systemd driver without a systemd: names, properties, and the D-Bus it speaks."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrun.errors import ConfigError, KernelError
from pyrun.linux.cgroups import dbus, select, systemd


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        ("", False, ("system.slice", "pyrun-web1.scope")),
        ("", True, ("user.slice", "pyrun-web1.scope")),
        ("machine.slice:libpod:abc", False, ("machine.slice", "libpod-abc.scope")),
        (":libpod:abc", False, ("system.slice", "libpod-abc.scope")),
        ("a-b.slice::abc", False, ("a-b.slice", "abc.scope")),
        ("::a+b", False, ("system.slice", "a\\x2bb.scope")),
    ],
)
def test_the_path_names_slice_and_scope(path: str, user: bool, expected: tuple[str, str]) -> None:
    assert systemd.parse_path(path, "web1", user=user) == expected


@pytest.mark.parametrize("path", ["/abs", "a:b", "a.slice:b:", "a:b:c:d", "x:y:z"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        systemd.parse_path(path, "web1", user=False)
    assert caught.value.pointer == "/linux/cgroupsPath"


@pytest.mark.parametrize(
    ("name", "path"),
    [("system.slice", "/system.slice"), ("-.slice", ""), ("a-b.slice", "/a.slice/a-b.slice")],
)
def test_slices_are_nested_by_their_dashes(name: str, path: str) -> None:
    assert systemd.expand_slice(name) == path


@pytest.mark.parametrize(
    ("cpus", "mask"), [("0", b"\x01"), ("0-2,7", b"\x87"), ("8-9", b"\x00\x03"), ("1, 3", b"\x0a")]
)
def test_cpus_become_a_mask(cpus: str, mask: bytes) -> None:
    assert systemd.cpu_mask(cpus) == mask


def test_a_list_of_cpus_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="'all' is not a list"):
        systemd.cpu_mask("all")


def test_limits_become_properties() -> None:
    resources: dict[str, Any] = {
        "memory": {"limit": 4096, "swap": 8192, "reservation": -1},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0"},
        "pids": {"limit": -1},
    }
    found = {name: value.value for name, value in systemd.limit_properties(resources)}
    assert found == {
        "MemoryMax": 4096,
        "MemorySwapMax": 4096,
        "MemoryLow": 2**64 - 1,
        "CPUWeight": 100,
        "CPUQuotaPerSecUSec": 500000,
        "CPUQuotaPeriodUSec": 100000,
        "AllowedCPUs": b"\x01",
        "TasksMax": 2**64 - 1,
    }
    assert systemd.limit_properties({}) == []
    unified = {"memory.high": "max", "pids.max": "7\n", "io.max": "8:0 rbps=1"}
    properties = systemd.limit_properties({"unified": unified})
    assert [(name, value.value) for name, value in properties] == [
        ("MemoryHigh", 2**64 - 1),
        ("TasksMax", 7),
    ]


def test_marshalling_follows_the_specification() -> None:
    assert dbus.pack("yu", [1, 2]) == b"\1\0\0\0\2\0\0\0"
    assert dbus.pack("s", ["ab"]) == b"\2\0\0\0ab\0"
    assert dbus.pack("at", [[7]]) == b"\x08\0\0\0\0\0\0\0\7" + bytes(7)
    assert dbus.pack("v", [dbus.Variant("b", True)]) == b"\1b\0\0\1\0\0\0"
    assert dbus.pack("a(sv)", [[]]) == bytes(8)


def test_what_is_packed_can_be_unpacked() -> None:
    values = ["name", [("Slice", dbus.Variant("s", "a")), ("PIDs", dbus.Variant("au", [1, 2]))], 9]
    data = dbus.pack("sa(sv)t", values)
    assert dbus.unpack("sa(sv)t", data) == ["name", [("Slice", "a"), ("PIDs", [1, 2])], 9]


Answer = Callable[[socket.socket, bytes], None]


@pytest.fixture
def server(tmp_path: Path) -> Callable[[list[bytes]], str]:
    """A socket whose other side says each of the answers once it is asked something."""

    def serve(answers: list[bytes]) -> str:
        path = str(tmp_path / "bus")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()

        def talk() -> None:
            with listener, listener.accept()[0] as peer:
                for answer in answers:
                    peer.recv(65536)
                    peer.sendall(answer)
                while answers[-1] and peer.recv(65536):  # an empty one hangs up
                    pass

        threading.Thread(target=talk, daemon=True).start()
        return path

    return serve


def message(kind: int, fields: list[tuple[int, dbus.Variant]], body: bytes = b"") -> bytes:
    head = bytearray(b"l" + bytes((kind, 0, 1)) + len(body).to_bytes(4, "little") + b"\1\0\0\0")
    dbus._pack(head, "a(yv)", fields)
    dbus._pad(head, 8)
    return bytes(head) + body


def test_signals_before_the_answer_are_kept(server: Callable[[list[bytes]], str]) -> None:
    removed = message(
        dbus.SIGNAL,
        [
            (dbus.MEMBER, dbus.Variant("s", "JobRemoved")),
            (dbus.SIGNATURE, dbus.Variant("g", "uoss")),
        ],
        dbus.pack("uoss", [1, "/job/1", "a.scope", "done"]),
    )
    answer = message(
        dbus.RETURN,
        [(dbus.REPLY_SERIAL, dbus.Variant("u", 1)), (dbus.SIGNATURE, dbus.Variant("g", "o"))],
        dbus.pack("o", ["/job/1"]),
    )
    # BEGIN has no answer of its own, so it arrives with the call or before it.
    path = server([b"OK 0123\r\n", removed + answer])
    connection = systemd.Systemd(path, os.getuid(), bus=False)
    assert connection.ask("StartTransientUnit") == ["/job/1"]
    assert connection.wait("/job/1") == "done"
    connection.close()


def test_an_error_has_its_name_and_words(server: Callable[[list[bytes]], str]) -> None:
    refused = message(
        dbus.ERROR,
        [
            (dbus.REPLY_SERIAL, dbus.Variant("u", 1)),
            (dbus.ERROR_NAME, dbus.Variant("s", "org.freedesktop.systemd1.UnitExists")),
            (dbus.SIGNATURE, dbus.Variant("g", "s")),
        ],
        dbus.pack("s", ["it exists"]),
    )
    path = server([b"OK 0123\r\n", refused])
    connection = systemd.Systemd(path, os.getuid(), bus=False)
    with pytest.raises(dbus.DBusError, match="it exists") as caught:
        connection.ask("StartTransientUnit")
    assert caught.value.name.endswith("UnitExists")
    connection.close()


def test_a_refused_login_and_a_hangup_are_errors(server: Callable[[list[bytes]], str]) -> None:
    path = server([b"REJECTED EXTERNAL\r\n"])
    with pytest.raises(PermissionError, match="REJECTED EXTERNAL"):
        systemd.Systemd(path, os.getuid(), bus=False)
    os.unlink(path)
    path = server([b""])
    with pytest.raises(ConnectionResetError):
        systemd.Systemd(path, os.getuid(), bus=False)


def test_a_host_without_systemd_is_told_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: str, *_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(systemd, "Systemd", absent)
    with pytest.raises(KernelError) as caught:
        select.manager("", "web1", "systemd")
    assert "make the systemd scope pyrun-web1.scope: systemd cannot be reached (/" in str(
        caught.value
    )
    assert "systemd/private: No such file or directory" in str(caught.value)
