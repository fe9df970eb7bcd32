"""One client of the attach socket; loaded when the first one connects."""

from __future__ import annotations

from pyconmon import diagnostics, loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from pyconmon.attach import AttachServer
    from pyconmon.backlog import Backlog

_RECEIVE_BYTES = 32768
# What a client has yet to get is kept in memory up to here, and on the disk beyond.
_MEMORY_BYTES = 1 << 18


class Client:
    """One attached client; its reading and its writing side end independently."""

    __slots__ = ("_backlog", "_events", "_input", "_loop", "_pending", "_queue", "_reading",
                 "_server", "_socket", "_writing", "queued_bytes", "taken_bytes")  # fmt: skip

    def __init__(self, sock: _socket.socket, server: AttachServer) -> None:
        self._socket = sock
        self._server = server
        self._loop = server.loop
        self._input = server.input
        self._queue: list[bytes] = []
        self._backlog: Backlog | None = None
        self.queued_bytes = 0
        self.taken_bytes = 0
        self._pending = b""
        self._reading = self._writing = True
        self._events = loop.READ
        self._loop.watch(sock.fileno(), self._events, self._ready)

    def _ready(self, events: int) -> None:
        if events & loop.WRITE:
            self.send()
        if self._reading:
            # Even a client that has hung up is heard to its last byte.
            if not self._pending:
                self._receive()
        elif events & loop.HANGUP:
            self.close()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._pending = data
            self.flush()
        else:
            self._reading = False
            self._server.end_of_input()
            self._settle()

    def flush(self) -> None:
        """Pass on what the container had no room for."""
        self._pending = self._input.write(self._pending)
        if self._pending:
            self._input.resume_later(self)
        self._settle()

    def queue(self, packets: list[bytes]) -> None:
        """Send packets, at once or when the client has room for them."""
        if not self._writing:
            return
        if not self._queue and not self._backlog:
            packets = self._send_now(packets)
            if not packets:
                return
        self.queued_bytes += sum(map(len, packets))
        if self._backlog or self.queued_bytes > _MEMORY_BYTES:
            self._put_on_disk(packets)
        else:
            self._queue += packets
        self.send()

    def _send_now(self, packets: list[bytes]) -> list[bytes]:
        """Send what the client takes at once, as most do, and return the rest."""
        for number, packet in enumerate(packets):
            if not self._send_one(packet):
                if self._writing:
                    return packets[number:]
                self._settle()  # it has gone
                return []
            self.taken_bytes += len(packet)
        return []

    def _put_on_disk(self, packets: list[bytes]) -> None:
        try:
            if self._backlog is None:
                from pyconmon.backlog import Backlog

                self._backlog = Backlog(self._server.directory)
            self._backlog.append(packets)
        except OSError as error:
            diagnostics.warn(f"backlog of an attached client: {error.strerror}: it is dropped")
            self.close()

    def send(self) -> None:
        """Send what is queued as far as the client takes it."""
        while self._writing and self._next() and self._send_one(self._queue[0]):
            self.taken_bytes += len(self._queue[0])
            self.queued_bytes -= len(self._queue[0])
            del self._queue[0]
        if self._server.finishing and not self._queue and not self._backlog:
            self.close()
            return
        self._settle()
        self._server.client_moved()

    def _next(self) -> bool:
        """Whether there is a packet to send; what waits on the disk follows what is in memory."""
        if not self._queue and self._backlog:
            self._queue = self._backlog.take()
            if not self._backlog.size:
                self._drop_backlog()
        return bool(self._queue)

    def _drop_backlog(self) -> None:
        if self._backlog:
            self._backlog.close()
            self._backlog = None

    def _send_one(self, packet: bytes) -> bool:
        try:
            self._socket.send(packet)
        except BlockingIOError:
            return False
        except OSError as error:
            diagnostics.debug(f"attached client: {error.strerror}")
            self._forget_queue()
            return False
        return True

    def _settle(self) -> None:
        """Watch for what can happen next; close when nothing can."""
        if self._socket.fileno() < 0:
            return
        if not self._reading and not self._writing:
            self.close()
            return
        events = 0
        if self._reading and not self._pending:
            events |= loop.READ
        if self._queue:
            events |= loop.WRITE
        # With nothing to wait for, a hang-up is reported once instead of for ever.
        events = events or loop.EDGE
        if events != self._events:
            self._events = events
            self._loop.change(self._socket.fileno(), events)

    def close(self) -> None:
        """Disconnect the client."""
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._forget_queue()
            self._server.clients.remove(self)
            self._server.client_moved()

    def _forget_queue(self) -> None:
        self._writing = False
        self._queue.clear()
        self.queued_bytes = 0
        self._drop_backlog()
