"""Relays the container's sd-notify messages to the host's socket (``--sdnotify-socket``)."""

from __future__ import annotations

import _socket

from pyconmon import attach, diagnostics, loop

_RECEIVE_BYTES = 32768
_MOST_WAITING = 1024  # more than a socket holds; who outlives the container may go on sending
# A container may say what concerns itself; MAINPID or FDSTORE would reach into the host.
_LINES = (b"READY=1", b"RELOADING=1", b"STOPPING=1", b"WATCHDOG=1", b"WATCHDOG=trigger")
_PREFIXES = (b"STATUS=", b"ERRNO=", b"BUSERROR=", b"MONOTONIC_USEC=")


class NotifyRelay:
    """Listens on ``notify/notify.sock`` in the bundle."""

    __slots__ = ("_host", "_host_path", "_socket")

    def __init__(self, the_loop: loop.Loop, host_path: str, bundle: str) -> None:
        kind = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        self._host_path = host_path
        if host_path.startswith("@"):  # of the abstract namespace (unix(7)), as systemd writes it
            self._host_path = f"\0{host_path[1:]}"
        self._host = _socket.socket(_socket.AF_UNIX, kind)
        self._socket = _socket.socket(_socket.AF_UNIX, kind)
        attach.bind_in_directory(self._socket, f"{bundle}/notify", "notify.sock", 0o777)
        the_loop.watch(self._socket.fileno(), loop.READ, self._relay)

    def _relay(self, _events: int) -> None:
        self._relay_one()

    def relay_waiting(self) -> None:
        """Relay what the container has sent before it ended."""
        for _ in range(_MOST_WAITING):
            if not self._relay_one():
                break

    def _relay_one(self) -> bool:
        try:
            message = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return False
        allowed = safe_lines(message)
        if allowed:
            try:
                self._host.sendto(allowed, self._host_path)
            except OSError as error:
                diagnostics.warn(f"Failed to relay to {self._host_path}: {error.strerror}")
        return True


def safe_lines(message: bytes) -> bytes:
    """The lines of a message that may pass."""
    lines = message.replace(b"\r", b"\n").split(b"\n")
    return b"\n".join(line for line in lines if line in _LINES or line.startswith(_PREFIXES))
