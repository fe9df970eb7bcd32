"""Gives the seccomp listener to who answers for SCMP_ACT_NOTIFY.

(runtime-spec config-linux.md, ``listenerPath`` and "The Container Process State".)

Once the filter is loaded, any call of the process may wait for an answer, that of sending the
listener as well. So a helper without the filter sends it: it shares the descriptors of the
process, and learns the listener's number from shared memory, which needs no call.
"""

from __future__ import annotations

import mmap
import posix
import struct
import time
from _socket import (
    AF_UNIX,
    SCM_RIGHTS,
    SHUT_RDWR,
    SOCK_CLOEXEC,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from pyrun import syscalls
from pyrun.errors import ContainerError, KernelError
from pyrun.linux.seccomp import filters
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.linux.seccomp.filters import Filter
    from pyrun.spec.types import JsonObject

_WORD_BYTES = 8
_NONE = (1 << 64) - 1  # there will be no listener
_PAUSE_S = 0.0005
_SENT, _LEFT_ALONE = 0, 255  # exit statuses of the helper; others are an errno


class Listener:
    """What is sent, and where to.

    Attributes:
        fd: the connected socket.
        path: of the socket.
        state: of the container, as the receiver reads it; it gets the process's id if it has none.
    """

    __slots__ = ("_metadata", "fd", "path", "state")

    def __init__(self, filter_: Filter, state: JsonObject) -> None:
        """Connect to the profile's socket.

        Raises:
            ContainerError: nobody listens there.
        """
        self.path = filter_.listener_path
        self.state = state
        self._metadata = filter_.listener_metadata
        made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
        try:
            made.connect(self.path)
        except OSError as error:
            made.close()
            problem = f"connect to the seccomp listener {self.path}: {error.strerror}"
            raise ContainerError(problem) from error
        self.fd = made.detach()

    def load(self, filter_: Filter, proc_fd: int) -> None:
        """Put this process under the filter, once somebody is there to send the listener.

        Args:
            filter_: with SCMP_ACT_NOTIFY.
            proc_fd: /proc/self of the host, which knows the process by the host's number.

        Raises:
            KernelError: the filter was refused, or nobody received the listener.
        """
        message = self._message(_host_pid(proc_fd))
        shared = mmap.mmap(-1, _WORD_BYTES)
        parent = posix.getpid()
        helper = syscalls.clone_sharing_files()
        if helper == 0:
            _send(self.fd, shared, parent, message)
        word = _NONE
        try:
            listener_fd = filters.load(filter_.program, filter_.flags)
            word = listener_fd + 1
        finally:
            shared[:_WORD_BYTES] = struct.pack("Q", word)
        status = _wait(helper)
        posix.close(listener_fd)
        if status:
            error = OSError(status, posix.strerror(status))
            raise KernelError(f"send the seccomp listener to {self.path}", error)

    def _message(self, pid: int) -> bytes:
        state = {**self.state, "pid": self.state.get("pid") or pid}
        message = {
            "ociVersion": state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid,
            "state": state,
        }
        if self._metadata:
            message["metadata"] = self._metadata
        return jsontext.dumps(message).encode()


def connect(filter_: Filter | None, state: JsonObject) -> Listener | None:
    """A listener where the profile asks for one.

    Raises:
        ContainerError: nobody listens there.
    """
    if filter_ is None or not filter_.flags & syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER:
        return None
    return Listener(filter_, state)


def _host_pid(proc_fd: int) -> int:
    fd = posix.open("stat", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=proc_fd)
    try:
        return int(posix.read(fd, 64).split(b" ")[0])
    finally:
        posix.close(fd)


def _send(socket_fd: int, shared: mmap.mmap, parent: int, message: bytes) -> NoReturn:
    """The helper, which has the process's descriptors and must leave them alone."""
    status = _LEFT_ALONE
    try:
        while not any(shared[:_WORD_BYTES]) and posix.getppid() == parent:
            time.sleep(_PAUSE_S)
        word = struct.unpack("Q", shared[:_WORD_BYTES])[0]
        if word not in (0, _NONE):
            made = socket(fileno=socket_fd)
            rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", word - 1))]
            sent = made.sendmsg([message], rights)
            if sent < len(message):
                made.sendall(message[sent:])
            status = _SENT
            _shut(made)
    except OSError as error:
        status = error.errno or 5
    finally:
        posix._exit(status)


def _shut(made: socket) -> None:
    """Whoever reads to the end need not wait for ours; who has closed already needs nothing."""
    try:
        made.shutdown(SHUT_RDWR)
    except OSError:
        return


def _wait(helper: int) -> int:
    """The helper's exit status; a profile that refuses to tell is no reason to fail."""
    try:
        return posix.waitstatus_to_exitcode(posix.waitpid(helper, 0)[1])
    except OSError:
        return _SENT
