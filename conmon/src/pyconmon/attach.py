"""The attach socket: any number of clients see the output and may write to the container.

Each packet to a client is one block of one stream behind a byte that names the stream.
"""

from __future__ import annotations

import _socket
import posix

from pyconmon import diagnostics, files, logs, loop
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyconmon.client import Client
# How far a client may lag behind. Then the container waits for it, as it always does under conmon,
# but not for one that takes nothing for a while.
_DISK_BYTES = 64 << 20
_STALLED_S = 10
_ACCEPT_PAUSE_S = 1
_PATH_BYTES = 107


class Input:
    """The container's standard input.

    ``open`` may come late (a terminal) or never; what clients sent before waits in their buffers.
    """

    __slots__ = ("_blocked", "_fd", "_loop", "awaited")

    def __init__(self, the_loop: loop.Loop, *, awaited: bool) -> None:
        self._loop = the_loop
        self._fd = -1
        self._blocked: list[Client] = []
        self.awaited = awaited  # a terminal will be opened; without, bytes are thrown away

    def open(self, fd: int) -> None:
        """Write to ``fd``, which does not block and which this object will close."""
        self._fd = fd
        self.awaited = False
        self._flush(0)

    def write(self, data: bytes) -> bytes:
        """Write what can be written now and return the rest."""
        if self._fd < 0:
            return data if self.awaited else b""
        try:
            return data[posix.write(self._fd, data) :]
        except BlockingIOError:
            return data
        except OSError as error:  # EPIPE: the container closed its standard input
            diagnostics.info(f"container stdin: {error.strerror}")
            self.close()
            return b""

    def resume_later(self, client: Client) -> None:
        """Call ``client.flush`` when there is room again."""
        if not self._blocked and self._fd >= 0:
            self._loop.watch(self._fd, loop.WRITE, self._flush)
        self._blocked.append(client)

    def _flush(self, _events: int) -> None:
        blocked, self._blocked = self._blocked, []
        if self._fd >= 0:
            self._loop.forget(self._fd)
        for client in blocked:
            client.flush()

    def fileno(self) -> int:
        """Where to write to, or -1."""
        return self._fd

    def close(self) -> None:
        """End the container's input; what clients still send is thrown away."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            posix.close(self._fd)
            self._fd = -1
            self._flush(0)


class AttachServer:
    """Listens on ``attach`` in the bundle, reachable through ``--socket-dir-path`` if asked for."""

    __slots__ = ("_close_input_with_client", "_held_up", "_hold_output", "_link", "_path",
                 "_socket", "clients", "directory", "finishing", "input", "loop",
                 "on_empty", "on_idle")  # fmt: skip

    def __init__(
        self,
        the_loop: loop.Loop,
        container_input: Input,
        bundle: str,
        link: str | None,
        hold_output: Callable[[bool], None],
        *,
        close_input_with_client: bool,
        listening_fd: int = -1,
    ) -> None:
        """Listen, on a socket of its own unless ``listening_fd`` is one already."""
        self.loop = the_loop
        self.input = container_input
        self.clients: list[Client] = []
        self.on_idle: Callable[[], None] | None = None  # the clients have all that was sent
        self.on_empty: Callable[[], None] | None = None  # the last client has left
        self.finishing = False
        self._close_input_with_client = close_input_with_client
        self._link = link
        self._hold_output = hold_output
        self._held_up: dict[Client, int] = {}  # whom the output waits for, and what they had taken
        self.directory = bundle
        self._path = f"{bundle}/attach"
        kind = _socket.SOCK_SEQPACKET | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        if listening_fd >= 0:
            self._socket = _socket.socket(_socket.AF_UNIX, kind, 0, listening_fd)
        else:
            if link:
                _replace_link(bundle, link)
            self._socket = _socket.socket(_socket.AF_UNIX, kind)
            bind_in_directory(self._socket, bundle, "attach", 0o700)
            self._socket.listen(10)
        self._listen()

    def fileno(self) -> int:
        """Where clients connect."""
        return self._socket.fileno()

    def _listen(self) -> None:
        self.loop.watch(self._socket.fileno(), loop.READ, self._accept)

    def _accept(self, _events: int) -> None:
        self.accept_waiting()

    def accept_waiting(self) -> None:
        """Take all who wait: who connects before the container's start gets all of its output."""
        while self._accept_one():
            pass

    def _accept_one(self) -> bool:
        try:
            fd, _ = self._socket._accept()  # type: ignore[attr-defined]  # what socket.accept uses
        except BlockingIOError:
            return False
        except OSError as error:
            diagnostics.warn(
                f"Failed to accept client connection on {self._path}: {error.strerror}"
            )
            # Out of descriptors, most likely: the client stays in the queue, and asking for it at
            # once again would take all the processor's time.
            self.loop.forget(self._socket.fileno())
            self.loop.after(_ACCEPT_PAUSE_S, self._listen)
            return False
        from pyconmon.client import Client  # most containers never have one

        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
        sock.setblocking(False)
        self.clients.append(Client(sock, self))
        return True

    def broadcast(self, stream: int, data: bytes) -> None:
        """Send output to every client."""
        if not self.clients:
            return
        mark = bytes((stream,))
        step = logs.BLOCK_BYTES
        packets = [mark + data[start : start + step] for start in range(0, len(data), step)]
        for client in self.clients.copy():
            client.queue(packets)
        if not self._held_up and self._too_far_behind(_DISK_BYTES):
            self._hold_up()

    def end_of_input(self) -> None:
        """A client has nothing more to write: the container's standard input ends with it."""
        if self._close_input_with_client:
            self.input.close()

    @property
    def queued_bytes(self) -> int:
        """What the clients have not yet taken."""
        return sum(client.queued_bytes for client in self.clients)

    def client_moved(self) -> None:
        """A client has taken something or has left."""
        if self._held_up and not self._too_far_behind(_DISK_BYTES // 2):
            self._release()
        if self.on_idle and not self.queued_bytes:
            self.on_idle()
        if self.on_empty and not self.clients:
            self.on_empty()

    def _too_far_behind(self, limit_bytes: int) -> list[Client]:
        return [client for client in self.clients if client.queued_bytes > limit_bytes]

    def _hold_up(self) -> None:
        self._held_up = {client: client.taken_bytes for client in self.clients}
        self._hold_output(True)
        self.loop.after(_STALLED_S, self._drop_stalled)

    def _drop_stalled(self) -> None:
        for client in self._too_far_behind(_DISK_BYTES // 2):
            if client.taken_bytes == self._held_up.get(client):
                diagnostics.warn(f"attached client takes nothing for {_STALLED_S} s: it is dropped")
                client.close()
        if self._held_up:
            self._held_up = {client: client.taken_bytes for client in self.clients}
            self.loop.after(_STALLED_S, self._drop_stalled)

    def _release(self) -> None:
        self._held_up = {}
        self.loop.cancel(self._drop_stalled)
        self._hold_output(False)

    def stop_listening(self) -> None:
        """Take no more clients and remove what was put on the disk."""
        for path in filter(None, (self._path, self._link)):
            try:
                files.remove(path)
            except OSError as error:
                diagnostics.warn(f"Failed to remove {path}: {error.strerror}")
        # Nobody finds it any more: who came before is let in to be sent off, and not cut off.
        self.accept_waiting()
        self.loop.cancel(self._listen)
        self.loop.forget(self._socket.fileno())
        self._socket.close()

    def finish(self) -> None:
        """There is no more output: disconnect each client as soon as it has all of it."""
        self.finishing = True
        for client in self.clients.copy():
            client.send()

    def close(self) -> None:
        """Disconnect every client."""
        for client in self.clients.copy():
            client.close()


def link_path(socket_dir: str, uuid: str) -> str:
    """The link to the bundle; conmon shortens one that leaves no room for the socket's name."""
    path = f"{socket_dir}/{uuid}"
    return path[:-1] if len(diagnostics.encode(path)) == _PATH_BYTES else path


def _replace_link(bundle: str, link: str) -> None:
    try:
        files.remove(link)
        posix.symlink(bundle, link)
    except OSError as error:
        raise MonitorError(f"Failed to create symlink {link} to {bundle}", error) from error


def bind_in_directory(sock: _socket.socket, directory: str, name: str, mode: int) -> None:
    """Bind in a directory whose path may be longer than a socket address.

    Raises:
        MonitorError: the directory is missing or the socket's file cannot be made in it.
    """
    path = f"{directory}/{name}"
    try:
        directory_fd = posix.open(directory, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise MonitorError(f"failed to open socket path parent dir {directory}", error) from error
    try:
        files.remove(path)
        posix.fchmod(sock.fileno(), mode)
        sock.bind(f"/proc/self/fd/{directory_fd}/{name}")
        posix.chmod(path, mode)
    except OSError as error:
        raise MonitorError(f"Failed to bind to {path}", error) from error
    finally:
        posix.close(directory_fd)
