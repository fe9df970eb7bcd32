"""A connection to a D-Bus peer on a Unix socket: a bus, or systemd's own private socket.

Only what calling methods and waiting for signals needs (D-Bus specification, "Authentication
Protocol", "Message Bus Specification").
"""

from __future__ import annotations

import errno
import os
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from pyrun.errors import KernelError
from pyrun.linux.cgroups import dbus_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_LINE_LIMIT_BYTES = 4096


class CallError(KernelError):
    """The peer answered a call with an error; ``name`` is its D-Bus name."""

    def __init__(self, step: str, name: str, text: str) -> None:
        super().__init__(step, f"{text} ({name})" if text else name)
        self.name = name


class Connection:
    """One connection; every wait ends after ``timeout_s``.

    Raises:
        KernelError: nobody listens there, or it refused this user.
    """

    __slots__ = ("_serial", "_signals", "_socket", "address", "timeout_s")

    def __init__(self, address: str, *, bus: bool, timeout_s: float = 30.0) -> None:
        """Connect and authenticate.

        Args:
            address: a path, or ``@`` and an abstract name.
            bus: whether a message bus listens there, which wants to be greeted.
            timeout_s: of each wait.
        """
        self.address = address
        self.timeout_s = timeout_s
        self._serial = 0
        self._signals: list[dbus_wire.Message] = []
        self._socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        self._socket.settimeout(timeout_s)
        try:
            self._connect()
            self._authenticate()
            if bus:
                self.call((*_BUS, "Hello"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _connect(self) -> None:
        address = self.address
        try:
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            raise KernelError(f"connect to {address}", error) from error

    def _authenticate(self) -> None:
        """EXTERNAL: the peer takes the user id from the socket.

        No id is sent along, because ours may be another one in a user namespace. All lines are
        sent at once: systemd would forget a call that it reads together with ``BEGIN``.
        """
        step = f"authenticate at {self.address} as user {os.geteuid()}"
        try:
            self._socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
            first, second = self._line(), self._line()
        except TimeoutError as error:
            raise KernelError(step, f"no answer within {self.timeout_s:g} s") from error
        except OSError as error:
            raise KernelError(step, error) from error
        if not second.startswith(b"OK"):
            raise KernelError(step, first.decode(errors="replace") or "it closed the connection")

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            byte = self._socket.recv(1)  # what follows the line is not ours to read yet
            if not byte or len(line) > _LINE_LIMIT_BYTES:
                return b""
            line += byte
        return line.rstrip()

    def subscribe(self, rule: str) -> None:
        """Have a bus send the signals that match ``rule``."""
        self.call((*_BUS, "AddMatch"), "s", (rule,))

    def call(
        self, target: tuple[str, str, str, str], signature: str = "", values: Sequence[Any] = ()
    ) -> list[Any]:
        """Call a method and wait for its answer; signals that arrive meanwhile are kept.

        Args:
            target: destination, path, interface, member.
            signature: of the arguments.
            values: the arguments.

        Raises:
            CallError: the answer is an error.
            KernelError: no answer came.
            ValueError: an argument is not of its type.
        """
        self._serial += 1
        step = f"call {target[3]} at {self.address}"
        data = dbus_wire.method_call(self._serial, target, signature, values)
        deadline = time.monotonic() + self.timeout_s
        try:
            self._socket.settimeout(self.timeout_s)
            self._socket.sendall(data)
        except OSError as error:
            raise KernelError(step, error) from error
        while True:
            message = self._receive(step, deadline)
            if message.kind == dbus_wire.SIGNAL:
                self._signals.append(message)
            elif message.reply_serial == self._serial:
                break
        if message.kind == dbus_wire.ERROR:
            words = [word for word in message.arguments[:1] if isinstance(word, str)]
            raise CallError(step, message.error_name, "".join(words))
        return message.arguments

    def wait_for_signal(
        self, wanted: Callable[[dbus_wire.Message], bool], step: str
    ) -> dbus_wire.Message:
        """The first signal, kept or new, that is ``wanted``; the others are dropped.

        Raises:
            KernelError: ``step`` took too long, or the connection broke.
        """
        deadline = time.monotonic() + self.timeout_s
        while True:
            message = self._signals.pop(0) if self._signals else self._receive(step, deadline)
            if message.kind == dbus_wire.SIGNAL and wanted(message):
                return message

    def _receive(self, step: str, deadline: float) -> dbus_wire.Message:
        try:
            header = self._exactly(dbus_wire.HEADER_BYTES, deadline)
            rest = dbus_wire.message_length(header) - len(header)
            return dbus_wire.parse(header + self._exactly(rest, deadline))
        except TimeoutError as error:
            problem = f"no answer from {self.address} within {self.timeout_s:g} s"
            raise KernelError(step, problem) from error
        except OSError as error:
            raise KernelError(step, error) from error
        except ValueError as error:
            raise KernelError(step, str(error)) from error

    def _exactly(self, count: int, deadline: float) -> bytes:
        data = b""
        while len(data) < count:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                raise ConnectionResetError(
                    errno.ECONNRESET, "the connection was closed", self.address
                )
            data += chunk
        return data
