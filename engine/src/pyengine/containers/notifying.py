"""Tells the service manager that started us about a container (sd_notify(3), ``--sdnotify``).

Loaded only where there is a socket to tell. The main process of the service is the monitor, which
lives as long as the container and ends with its exit code. Who is ready is up to the mode:

- ``container``: the container, which gets a socket of its own; the monitor relays what it says
- ``conmon``: we, once it is started
- ``healthy``: we, once its health check has passed
"""

from __future__ import annotations

import _socket
import os

from pyengine import log
from pyengine.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.monitor.start import Call
    from pyengine.specgen.generate import Place

DIRECTORY = "/run/notify"  # in the container
SOCKET = "notify.sock"  # conmon's name
READY = "READY=1"


class Notifier:
    """What one start tells."""

    __slots__ = ("_mode", "_path")

    def __init__(self, mode: str, path: str) -> None:
        """``path`` is NOTIFY_SOCKET: a path, or a name of the abstract namespace behind an @."""
        self._mode, self._path = mode, path

    def prepare(self, call: Call) -> None:
        """Have the monitor relay what the container says, if it is to say anything.

        Raises:
            MonitorError: there is no place for the container's socket.
        """
        if self._mode != "container":
            return
        path = f"{call.files.bundle}/notify"
        try:
            os.mkdir(path)
            os.chmod(path, 0o755)  # whoever the container's user is
        except OSError as error:
            raise MonitorError(f"make {path} for --sdnotify: {error.strerror}") from error
        call.arguments.append(f"--sdnotify-socket={self._path}")

    def lay_out(self, place: Place) -> None:
        """Show the container the monitor's socket."""
        if self._mode == "container":
            place.files[DIRECTORY] = f"{place.bundle}/notify"
            place.env.append(f"NOTIFY_SOCKET={DIRECTORY}/{SOCKET}")

    def started(self, monitor_pid: int) -> None:
        """The container runs."""
        ready = [READY] if self._mode == "conmon" else []
        self._send("\n".join([f"MAINPID={monitor_pid}", *ready]))

    def complete(self, host: Host, container: Container, *, attended: bool) -> None:
        """Tell the rest, without the container's lock.

        Where the container is ``attended``, which goes on meanwhile, this does not wait.
        """
        if self._mode != "healthy":
            return
        if attended:
            import _thread

            _thread.start_new_thread(self._tell_health, (host, container))
        else:
            self._tell_health(host, container)

    def _tell_health(self, host: Host, container: Container) -> None:
        from pyengine.containers import supervising

        if supervising.wait_until_healthy(host, container):
            self._send(READY)
        else:
            log.warning(
                f"--sdnotify healthy: container {container.name} ended before it was healthy:"
                f" {READY} is not sent"
            )

    def _send(self, message: str) -> None:
        """The container runs whoever hears of it, so that failing is a warning."""
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            sender.sendto(message.encode(), address)
        except OSError as error:  # without a number where the path is too long
            log.warning(f"notify {self._path} (NOTIFY_SOCKET): {error.strerror or error}")
        finally:
            sender.close()
