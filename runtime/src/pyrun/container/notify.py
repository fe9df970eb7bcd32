"""Tells systemd that a container is ready (sd_notify(3)), where NOTIFY_SOCKET asks for it.

As with crun, the container gets a socket of its own in the directory that has the name of the
caller's. ``run`` and ``start`` read it and tell the caller's; a service of Type=notify that
consists of one of them works. Loaded only where the variable is set.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import errno
import fcntl
import posix
import select
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, socket

from pyrun import names
from pyrun.container import starting, store
from pyrun.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container.store import Entry
    from pyrun.spec.types import JsonObject

VARIABLE = "NOTIFY_SOCKET"
READY = b"READY=1"
_ELSEWHERE = "/run/notify"  # for a caller's socket that is no path
_OPTIONS = ["bind", "ro", "nosuid", "nodev", "noexec"]  # a socket can be written to all the same
_LIMIT_BYTES = 1 << 16
_BARRIER_MS = 5000


def offer(config: JsonObject, directory: str) -> None:
    """Have the container see the socket.

    Args:
        config: gets a mount and a variable.
        directory: of the container below ``--root``.
    """
    place = names.environment(VARIABLE)
    place = place if place.startswith("/") else _ELSEWHERE
    source = f"{directory}/{store.NOTIFY}"
    entry = {"destination": place, "type": "bind", "source": source, "options": _OPTIONS}
    config["mounts"] = [*(config.get("mounts") or ()), entry]
    process = config.get("process") or {}
    process["env"] = [*(process.get("env") or ()), f"{VARIABLE}={place}/{store.NOTIFY}"]


class Listener:
    """The container's socket, and what is heard from it.

    Attributes:
        fd: of the socket.
        warnings: takes what keeps us from telling the caller's.
    """

    __slots__ = ("_socket", "_told", "fd", "warnings")

    def __init__(self, entry: Entry, warnings: list[str]) -> None:
        """Make the socket, in the place of one that ``create`` has left.

        Raises:
            ContainerError: it cannot be made.
        """
        directory = entry.file(store.NOTIFY)
        self.warnings = warnings
        self._told = False
        self._socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
        self.fd = self._socket.fileno()
        try:
            fd = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
            try:
                path = f"/proc/self/fd/{fd}/{store.NOTIFY}"  # that of --root may be too long
                if names.exists(path):
                    posix.unlink(path)
                self._socket.bind(path)
                posix.fchmod(fd, 0o755)  # the umask took away what the container's user needs
                posix.chmod(path, 0o777)
            finally:
                posix.close(fd)
        except OSError as error:
            raise ContainerError(f"make a socket in {directory}: {error.strerror}") from error
        self._socket.setblocking(False)

    def hear(self) -> bool:
        """Read what there is; whether the container has said that it is ready."""
        ready = False
        while True:
            try:
                text = self._socket.recv(_LIMIT_BYTES)
            except BlockingIOError:
                return ready
            ready = ready or READY in text.split(b"\n")

    def watch(self) -> None:
        """Have SIGIO say that there is something; it must be held already."""
        fcntl.fcntl(self.fd, fcntl.F_SETOWN, posix.getpid())
        fcntl.fcntl(self.fd, fcntl.F_SETFL, posix.O_NONBLOCK | fcntl.FASYNC)
        posix.kill(posix.getpid(), _signal.SIGIO)  # for what came before

    def forward(self) -> None:
        """Tell the caller's socket once that the container is ready, if it is."""
        if self.hear() and not self._told:
            self._told = True
            self._tell(READY)

    def wait(self, pid: int) -> None:
        """Wait until the container is ready or has ended; systemd gets its main process, too.

        Args:
            pid: of init.
        """
        try:
            pid_fd = posix.pidfd_open(pid)
        except ProcessLookupError:
            return
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.register(pid_fd, select.POLLIN)
        try:
            while True:
                events = dict(poll.poll())
                if self.fd in events and self.hear():
                    self._tell(READY + f"\nMAINPID={pid}".encode(), barrier=True)
                    return
                if pid_fd in events:
                    return
        finally:
            posix.close(pid_fd)

    def _tell(self, text: bytes, *, barrier: bool = False) -> None:
        address = names.environment(VARIABLE)
        path = f"\0{address[1:]}" if address.startswith("@") else address
        sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
        try:
            sender.connect(path)
            sender.send(text)
            if barrier:
                _wait_for_barrier(sender)
        except OSError as error:
            problem = error.strerror or posix.strerror(error.errno or errno.EINVAL)
            self.warnings.append(f"notify {address} ({VARIABLE}): {problem}")
        finally:
            sender.close()


def _wait_for_barrier(sender: socket) -> None:
    """Stay until the message is read: who sent it is looked up then (sd_notify_barrier(3))."""
    ours_fd, theirs_fd = posix.pipe()
    try:
        rights = [(SOL_SOCKET, SCM_RIGHTS, theirs_fd.to_bytes(4, "little"))]
        sender.sendmsg([b"BARRIER=1"], rights)
        posix.close(theirs_fd)
        theirs_fd = -1
        poll = select.poll()
        poll.register(ours_fd, 0)
        poll.poll(_BARRIER_MS)
    finally:
        for fd in (ours_fd, theirs_fd):
            if fd >= 0:
                posix.close(fd)


def start(entry: Entry, warnings: list[str]) -> None:
    """``starting.start``, and wait until the container is ready.

    Raises:
        PyrunError: as ``starting.start``; or the socket cannot be made.
    """
    listener = None
    if names.exists(entry.file(store.NOTIFY)):
        listener = Listener(entry, warnings)
    starting.start(entry, warnings)
    if listener:
        entry.unlock()
        listener.wait(entry.state["pid"])
