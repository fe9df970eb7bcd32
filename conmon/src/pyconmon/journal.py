"""The journald driver: one datagram per line, in journald's native protocol.

The fields are conmon's, by which ``podman logs`` finds them again.
"""

from __future__ import annotations

import _socket

from pyconmon import diagnostics, logs
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyconmon.options import Options

SOCKET = "/run/systemd/journal/socket"
_SHORT_ID = 12
_PRIORITIES = {logs.STDOUT: 6, logs.STDERR: 3}


class JournalLog:
    """Sends whole lines; a longer one than a block is sent in parts."""

    __slots__ = ("_fields", "_mark_partial", "_partial", "_socket")

    def __init__(self, options: Options) -> None:
        identity = options.cid or ""
        if len(identity) <= _SHORT_ID:
            raise MonitorError(f"Container ID must be longer than {_SHORT_ID} characters")
        self._fields = b"".join(_field(*pair) for pair in _fixed_fields(options, identity))
        self._mark_partial = not options.no_partial_message
        self._partial = {logs.STDOUT: b"", logs.STDERR: b""}
        self._socket = _socket.socket(
            _socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        )
        try:
            self._socket.connect(SOCKET)
        except OSError as error:
            raise MonitorError(
                f"log driver journald: no journal answers at {SOCKET}", error
            ) from error

    def write(self, stream: int, data: bytes) -> None:
        """Send the lines of a stream; what follows the last newline waits for more."""
        for start in range(0, len(data), logs.BLOCK_BYTES):
            for line in logs.lines_of(data[start : start + logs.BLOCK_BYTES]):
                whole = line[-1] == logs.NEWLINE
                if not whole and len(line) < logs.BLOCK_BYTES - len(self._partial[stream]):
                    self._partial[stream] += line
                else:
                    self._send(stream, line, partial=not whole)

    def _send(self, stream: int, line: bytes, *, partial: bool) -> None:
        held, self._partial[stream] = self._partial[stream], b""
        priority = _PRIORITIES[stream]
        # A line may begin with its own priority, as in <4> (sd-daemon(3)).
        if not held and line[:1] == b"<" and line[1:2] in b"01234567" and line[2:3] == b">":
            priority, line = line[1] - 48, line[3:]
        message = _field("MESSAGE", held + line) + _field("PRIORITY", b"%d" % priority)
        if partial and self._mark_partial:
            message += b"CONTAINER_PARTIAL_MESSAGE=true\n"
        try:
            self._socket.send(message + self._fields)
        except OSError as error:
            diagnostics.warn(f"lost {len(held) + len(line)} bytes for journald: {error.strerror}")

    def reopen(self) -> None:
        """Nothing to do: the journal rotates its own files."""

    def finish(self, sync: bool) -> None:  # noqa: ARG002 - the journal syncs its own files
        """Send the lines that never ended."""
        for stream, held in self._partial.items():
            if held:
                self._send(stream, b"", partial=True)


def _fixed_fields(options: Options, identity: str) -> list[tuple[str, bytes]]:
    encode = diagnostics.encode
    fields = [
        ("CONTAINER_ID_FULL", encode(identity)),
        ("CONTAINER_ID", encode(identity[:_SHORT_ID])),
        ("SYSLOG_IDENTIFIER", encode(options.log_tag or options.name or identity[:_SHORT_ID])),
    ]
    if options.log_tag:
        fields.append(("CONTAINER_TAG", encode(options.log_tag)))
    if options.name:
        fields.append(("CONTAINER_NAME", encode(options.name)))
    for label in options.log_labels:
        name, equals, value = label.partition("=")
        if not name or not equals or "=" in value:
            raise MonitorError(f"Container labels must be in format LABEL=VALUE (not '{label}')")
        if not all(letter in _LABEL_LETTERS for letter in name):
            raise MonitorError(
                "Container label names must contain only uppercase letters, numbers and"
                f" underscore (in '{label}')"
            )
        fields.append((name, encode(value)))
    return fields


_LABEL_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


def _field(name: str, value: bytes) -> bytes:
    """NAME=value, or for a value of several lines its length in binary (systemd's protocol)."""
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)
