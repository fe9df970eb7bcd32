"""The records that a command and the process it makes exchange, a failed step among them."""

from __future__ import annotations

import posix

from pyrun import errors, syscalls
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.spec.types import JsonObject

_LIMIT_BYTES = 1 << 16
_LIMIT_LINES = 48
_LIMIT_COLUMNS = 256
_LIMIT_ESCAPED = 64  # a character may take six bytes in JSON


class ChannelClosedError(errors.PyrunError):
    """The other side ended without a word."""


class Channel:
    """One end; a record is one packet."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, kind: str, **fields: object) -> None:
        """Send a record.

        Raises:
            PyrunError: what the other side raised before it ended.
            ChannelClosedError: it ended without a word.
            KernelError: the record is too long, or the kernel refused; the other side still waits.
        """
        packet = jsontext.dumps({"kind": kind, **fields}).encode()
        if len(packet) > _LIMIT_BYTES:
            problem = f"its paths are too long: {len(packet)} bytes"
            raise errors.KernelError(f"tell the container process: {kind}", problem)
        try:
            posix.write(self.fd, packet)
        except (BrokenPipeError, ConnectionResetError):
            self.receive(kind)  # its last words are still to be read
        except OSError as error:
            raise errors.KernelError(f"tell the container process: {kind}", error) from error

    def receive(self, kind: str) -> JsonObject:
        """Wait for the record ``kind``.

        Raises:
            PyrunError: what the other side raised.
            ChannelClosedError: it ended first.
        """
        try:
            packet = self._read()
        except OSError as error:
            raise ChannelClosedError(f"wait for {kind}: {error.strerror}") from error
        if not packet:
            raise ChannelClosedError(f"wait for {kind}: the process ended")
        record: JsonObject = jsontext.loads(packet.decode())
        if record["kind"] == "error":
            raise revive(record)
        if record["kind"] != kind:
            raise ChannelClosedError(f"wait for {kind}: received {record['kind']}")
        return record

    def _read(self) -> bytes:
        try:
            return posix.read(self.fd, _LIMIT_BYTES)
        except ConnectionResetError:
            # it ended before it read what we sent last; what it sent comes after this news
            return posix.read(self.fd, _LIMIT_BYTES)

    def close(self) -> None:
        """Close the descriptor; a second time does nothing."""
        if self.fd >= 0:
            posix.close(self.fd)
            self.fd = -1


def pair() -> tuple[Channel, Channel]:
    """Two connected ends, close-on-exec."""
    ours_fd, theirs_fd = syscalls.socketpair(syscalls.SOCK_SEQPACKET)
    return Channel(ours_fd), Channel(theirs_fd)


def describe(error: BaseException) -> JsonObject:
    """An exception as a record's fields, short enough for one packet."""
    if isinstance(error, OSError):
        error = errors.KernelError(error.filename or "set up the container process", error)
    name, message = type(error).__name__, str(error)
    if not isinstance(error, errors.PyrunError):
        from pyrun import particular_errors  # every process that enters a container has it

        name, message = "ContainerError", particular_errors.unexpected(error)
    return {"name": name, "message": message[:4096], "errno": getattr(error, "errno", 0)}


def revive(record: JsonObject) -> errors.PyrunError:
    """The exception that ``describe`` saw."""
    kind = getattr(errors, record["name"], errors.ContainerError)
    if kind is errors.ContainerError:
        from pyrun import particular_errors

        kind = getattr(particular_errors, record["name"], kind)
    error: errors.PyrunError = kind.__new__(kind)
    error.args = (record["message"],)
    if isinstance(error, errors.KernelError):
        error.errno = record["errno"]
    return error


def shortened(lines: list[str]) -> list[str]:
    """Messages, few and short enough for one packet."""
    kept = [
        line[: _LIMIT_COLUMNS if line.isascii() and line.isprintable() else _LIMIT_ESCAPED]
        for line in lines[:_LIMIT_LINES]
    ]
    more = len(lines) - len(kept)
    return [*kept, f"and {more} more"] if more else kept


def wait_for_execve(ours: Channel) -> None:
    """The other end is close-on-exec: that it closes without a word is success.

    Raises:
        PyrunError: what the other side raised instead.
    """
    try:
        ours.receive("nothing")
    except ChannelClosedError:
        return
