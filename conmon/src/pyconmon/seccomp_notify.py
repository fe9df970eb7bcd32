"""Seccomp user notifications (``--seccomp-notify-socket``, ``--seccomp-notify-plugins``).

The runtime sends the listener of a filter with SCMP_ACT_NOTIFY to the socket that the container's
``linux.seccomp.listenerPath`` names. Each system call that the filter reports waits until one of
the plugins has answered. Plugins are those of crun and conmon: shared libraries that export
``run_oci_seccomp_notify_handle_request`` (required), ``_start``, ``_stop`` and ``_version``.

Loaded for these options only, as ctypes takes 1 MiB. conmon 2.1.6 has the options too but ends with
"seccomp support not present".
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import posix
import sys

from pyconmon import attach, diagnostics, loop, passing, stdio
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes

    from pyconmon.options import Options

_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV and _SEND, which carry the sizes below
_SEND = 0xC0182101
_REQUEST_BYTES = 80
_RESPONSE_BYTES = 24
_DATA_BYTES = 64
_FLAG_CONTINUE = 1

_NOT_HANDLED, _SEND_RESPONSE, _DELAYED, _SEND_AND_CONTINUE = range(4)
_API_VERSION = 1
_PREFIX = "run_oci_seccomp_notify"
_MOST_FDS = 8


class Plugin:
    """One shared library and what its start function returned."""

    __slots__ = ("_handle_request", "_opaque", "_stop", "path")

    def __init__(self, path: str, options: Options) -> None:
        import ctypes

        self.path = path
        try:
            library = ctypes.CDLL(path)
            self._handle_request = library[f"{_PREFIX}_handle_request"]
        except (OSError, AttributeError) as error:
            raise MonitorError(f"seccomp notify plugin {path}: {error}") from error
        self._opaque = ctypes.c_void_p()
        self._stop = getattr(library, f"{_PREFIX}_stop", None)
        version = getattr(library, f"{_PREFIX}_version", None)
        if version and version() != _API_VERSION:
            raise MonitorError(f"seccomp notify plugin {path}: its API version is not 1")
        start = getattr(library, f"{_PREFIX}_start", None)
        if start:
            # runtime_root_path, name, bundle_path, oci_config_path
            texts = (None, options.name, options.bundle, f"{options.bundle}/config.json")
            encoded = [diagnostics.encode(text) if text else None for text in texts]
            conf = (ctypes.c_char_p * len(encoded))(*encoded)
            size = ctypes.c_size_t(ctypes.sizeof(conf))
            if start(ctypes.byref(self._opaque), conf, size) != 0:
                raise MonitorError(f"seccomp notify plugin {path}: its start function failed")

    def handle(
        self, request: ctypes.Array[ctypes.c_char], response: ctypes.Array[ctypes.c_char], fd: int
    ) -> int:
        """Ask the plugin; what it has done, one of the numbers above.

        Raises:
            MonitorError: the plugin failed.
        """
        import ctypes

        sizes = (ctypes.c_uint16 * 3)(_REQUEST_BYTES, _RESPONSE_BYTES, _DATA_BYTES)
        handled = ctypes.c_int()
        status = self._handle_request(
            self._opaque, sizes, request, response, fd, ctypes.byref(handled)
        )
        if status != 0 or handled.value not in range(4):
            raise MonitorError(
                f"seccomp notify plugin {self.path} failed with {status} ({handled.value})"
            )
        return handled.value

    def stop(self) -> None:
        """Let the plugin clean up."""
        if self._stop:
            self._stop(self._opaque)


class SeccompNotify:
    """Listens for listeners, and answers what they report."""

    __slots__ = ("_loop", "_path", "_plugins", "_socket")

    def __init__(self, the_loop: loop.Loop, options: Options) -> None:
        """Load the plugins and listen.

        Raises:
            MonitorError: a plugin or the socket cannot be used.
        """
        self._loop = the_loop
        self._path = options.seccomp_notify_socket or ""
        names = filter(None, (options.seccomp_notify_plugins or "").split(":"))
        self._plugins = [Plugin(name, options) for name in names]
        kind = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        self._socket = _socket.socket(_socket.AF_UNIX, kind)
        directory, _, name = self._path.rpartition("/")
        attach.bind_in_directory(self._socket, directory or "/", name, 0o700)
        self._socket.listen(10)
        the_loop.watch(self._socket.fileno(), loop.READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            fd, _ = self._socket._accept()  # type: ignore[attr-defined]  # what socket.accept uses
        except BlockingIOError:
            return
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        connection.setblocking(False)
        self._loop.watch(fd, loop.READ, lambda _events: self._take(connection))

    def _take(self, connection: _socket.socket) -> None:
        """Take the listener from the runtime; the state that comes with it is not needed."""
        try:
            fds = passing.receive_fds(connection, _MOST_FDS)
        except BlockingIOError:
            return
        except OSError as error:
            diagnostics.warn(f"Failed to receive the seccomp listener: {error.strerror}")
            fds = []
        self._loop.forget(connection.fileno())
        connection.close()
        if not fds:
            diagnostics.warn("Failed to receive the seccomp listener: the runtime sent none")
            return
        listener_fd, *others = fds
        for fd in others:
            posix.close(fd)
        stdio.set_nonblocking(listener_fd)
        self._loop.watch(listener_fd, loop.READ, lambda events: self._report(listener_fd, events))

    def _report(self, fd: int, events: int) -> None:
        import ctypes

        request = ctypes.create_string_buffer(_REQUEST_BYTES)
        response = ctypes.create_string_buffer(_RESPONSE_BYTES)
        try:
            if not events & loop.READ:
                raise OSError(errno.EPIPE, "no process has the filter any more")
            fcntl.ioctl(fd, _RECEIVE, request)
            if self._answer(request, response, fd):
                fcntl.ioctl(fd, _SEND, response)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EAGAIN):  # the process was killed meanwhile
                return
            diagnostics.debug(f"seccomp listener: {error.strerror}")
            self._loop.forget(fd)
            posix.close(fd)

    def _answer(
        self, request: ctypes.Array[ctypes.c_char], response: ctypes.Array[ctypes.c_char], fd: int
    ) -> bool:
        """Fill the response; ``False`` when a plugin will send it by itself."""
        handled = _NOT_HANDLED
        try:
            for plugin in self._plugins:
                handled = plugin.handle(request, response, fd)
                if handled != _NOT_HANDLED:
                    break
        except MonitorError as error:
            diagnostics.warn(str(error))
            handled = _NOT_HANDLED
        if handled == _DELAYED:
            return False
        # struct seccomp_notif_resp: id (8 bytes), val (8), error (4), flags (4)
        flags = int.from_bytes(response.raw[20:24], sys.byteorder)
        if handled == _SEND_AND_CONTINUE:
            flags |= _FLAG_CONTINUE
        answer = response.raw[8:20]
        if handled == _NOT_HANDLED:
            flags = 0
            answer = bytes(8) + (-errno.ENOTSUP).to_bytes(4, sys.byteorder, signed=True)
        response.raw = request.raw[:8] + answer + flags.to_bytes(4, sys.byteorder)
        return True

    def close(self) -> None:
        """Listen no more, and let the plugins clean up."""
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        try:
            posix.unlink(self._path)
        except OSError as error:
            diagnostics.warn(f"failed to unlink {self._path}: {error.strerror}")
        for plugin in self._plugins:
            plugin.stop()
