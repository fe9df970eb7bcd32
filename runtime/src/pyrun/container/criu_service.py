"""Runs criu as a service of this process (``criu swrk``) and speaks with it (docs/adr/0016)."""

from __future__ import annotations

import posix
import struct
from _socket import (
    AF_UNIX,
    MSG_TRUNC,
    SCM_RIGHTS,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)

from pyrun import names, syscalls
from pyrun.container import fork
from pyrun.errors import ContainerError
from pyrun.linux import criu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.linux.criu import Message

    # its name, a process id or 0, the descriptor that came with it or -1
    Notice = Callable[[str, int, int], None]

LOG_LEVEL = 4  # everything: CRIU explains itself in its log only
_ANSWER_BYTES = 1 << 16
_MSG_CMSG_CLOEXEC = 0x40000000
_SHOWN_LINES = 4
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(program: str) -> str:
    """The path of criu.

    Args:
        program: its name, or a path.

    Raises:
        ContainerError: it is not there.
    """
    if "/" in program:
        if not posix.access(program, posix.X_OK):
            raise ContainerError(f"{program} (--criu) is not there, or cannot be executed")
        return program
    path = names.environment("PATH") or _DEFAULT_PATH
    for directory in path.split(":"):
        found = f"{directory}/{program}"
        if directory and posix.access(found, posix.X_OK) and not names.is_dir(found):
            return found
    advice = "install CRIU (the package is called criu) or name it with --criu"
    raise ContainerError(f"{program} is not in $PATH ({path}): {advice}")


class Service:
    """One criu process, which answers one request; a context manager that waits for its end.

    Attributes:
        log: the path of its log file, or an empty string.
        pid: of criu.
        prepared: descriptors of what ``prepare`` opened, in this process.
    """

    __slots__ = ("_output_fd", "_socket", "log", "pid", "prepared")

    def __init__(
        self,
        program: str,
        log: str = "",
        *,
        inherit: list[int] | None = None,
        prepare: Callable[[], list[int]] | None = None,
        own_session: bool = False,
    ) -> None:
        """Start criu.

        Args:
            program: its path.
            log: where it will write its log.
            inherit: descriptors that it gets under the same numbers.
            prepare: called in the new process, before criu is executed; returns what it has opened.
            own_session: keeps it from the signals of the caller's terminal.

        Raises:
            ContainerError: ``prepare`` failed.
        """
        self.log = log
        self.prepared: list[int] = []
        self._output_fd = posix.memfd_create("criu")
        self._socket, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)
        self.pid = posix.fork()
        if self.pid == 0:
            self._socket.close()
            self._become(program, theirs.fileno(), inherit or [], prepare, own_session=own_session)
        theirs.close()
        if prepare:
            try:
                self._receive_prepared()
            except BaseException:
                self.__exit__()
                raise

    def _become(
        self,
        program: str,
        socket_fd: int,
        inherit: list[int],
        prepare: Callable[[], list[int]] | None,
        *,
        own_session: bool,
    ) -> None:
        """The child: never returns. Its standard input stays: --shell-job looks for a terminal."""
        try:
            if own_session:
                posix.setsid()
            if prepare:
                opened = prepare()
                rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(opened)}i", *opened))]
                socket(fileno=posix.dup(socket_fd)).sendmsg([b"prepared"], rights)
            for fd in (1, 2):
                posix.dup2(self._output_fd, fd, inheritable=True)
            fork.reset_signals()
            syscalls.close_range(3, 0xFFFFFFFF, syscalls.CLOSE_RANGE_CLOEXEC)
            for fd in (socket_fd, *inherit):
                posix.set_inheritable(fd, True)
            posix.execve(program, ["criu", "swrk", str(socket_fd)], posix.environ)
        except BaseException as error:  # noqa: BLE001 - the parent must not go on twice
            posix.write(self._output_fd, f"{error}".encode())
        finally:
            posix._exit(127)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()  # the news for criu, if it is still at work: it undoes what it did
        if self.pid:
            posix.waitpid(self.pid, 0)
        for fd in (self._output_fd, *self.prepared):
            posix.close(fd)

    def ask(self, request: Message, notice: Notice | None = None) -> Message:
        """Send the request, answer what criu tells meanwhile, and return its response.

        Args:
            request: of rpc.proto.
            notice: called for each notification; an error that it raises ends the work.

        Raises:
            ContainerError: criu failed; with the decisive lines of its log.
        """
        self._send(request)
        while True:
            response, fd = self._receive()
            try:
                if response["type"] != criu.NOTIFY:
                    break
                told = response.get("notify") or {}
                if notice:
                    notice(told.get("script", ""), told.get("pid", 0), fd)
            finally:
                if fd >= 0:
                    posix.close(fd)
            self._send({"type": criu.NOTIFY, "notify_success": True})
        if not response["success"]:
            raise self._failure(self._why(response))
        return response

    def _send(self, request: Message) -> None:
        try:
            self._socket.send(criu.encode("request", request))
        except OSError:
            raise self._death() from None

    def _receive_prepared(self) -> None:
        _, self.prepared, _ = self._receive_raw()

    def _receive_raw(self) -> tuple[bytes, list[int], int]:
        """One packet, the descriptors that came with it, and its flags."""
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(_ANSWER_BYTES, 64, _MSG_CMSG_CLOEXEC)
        except OSError:
            raise self._death() from None
        if not data:
            raise self._death()
        fds: list[int] = []
        for level, kind, rights in ancillary:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                fds += struct.unpack(f"{len(rights) // 4}i", rights)
        return data, fds, flags

    def _receive(self) -> tuple[Message, int]:
        """One message, and the descriptor that came with it."""
        data, fds, flags = self._receive_raw()
        fd = fds[0] if fds else -1
        try:
            response = criu.decode("response", data)
        except ValueError as error:
            raise self._failure(f"its answer cannot be read: {error}") from error
        if flags & MSG_TRUNC or not {"type", "success"} <= response.keys():
            raise self._failure("its answer cannot be read: it is incomplete")
        return response, fd

    def _why(self, response: Message) -> str:
        said = response.get("cr_errmsg") or ""
        number = response.get("cr_errno") or 0
        return said.strip() or (posix.strerror(number) if number else "it gave no reason")

    def _death(self) -> ContainerError:
        """It ended without an answer."""
        code = posix.waitstatus_to_exitcode(posix.waitpid(self.pid, 0)[1])
        self.pid = 0
        how = f"it ended with status {code}" if code >= 0 else f"it was killed by signal {-code}"
        said = posix.pread(self._output_fd, 4096, 0).decode(errors="replace").split("\n")
        return self._failure(": ".join([how, *filter(None, map(str.strip, said[:_SHOWN_LINES]))]))

    def _failure(self, why: str) -> ContainerError:
        lines = errors_of(self.log) if self.log else []
        if not lines:
            return ContainerError(f"criu failed: {why}")
        return ContainerError(f"criu failed: {'; '.join(lines)} (its log: {self.log})")


def errors_of(log: str) -> list[str]:
    """The first lines of a log that tell of an error: the others follow from these."""
    found = []
    try:
        with open(log, errors="replace") as lines:
            for line in lines:
                _, mark, text = line.partition("Error (")
                if mark and f"({text.strip()}" not in found:
                    found.append(f"({text.strip()}")
                if len(found) == _SHOWN_LINES:
                    break
    except OSError:  # it failed before there was a log
        return []
    return found


def version(program: str) -> int:
    """The version of criu, such as 31700 for 3.17.

    Raises:
        ContainerError: it cannot be run, or is too old to tell (before 3.0).
    """
    with Service(program) as service:
        found = service.ask({"type": criu.VERSION}).get("version") or {}
    major, minor, sublevel = (found.get(name, 0) for name in ("major", "minor", "sublevel"))
    return int(major * 10000 + minor * 100 + sublevel)


def require_feature(program: str, feature: str, option: str) -> None:
    """Refuse an option that this criu or this kernel cannot serve.

    Args:
        program: the path of criu.
        feature: of rpc.proto.
        option: that asks for it.

    Raises:
        ContainerError: it is not there.
    """
    with Service(program) as service:
        asked = {"type": criu.FEATURE_CHECK, "features": {feature: True}}
        found = service.ask(asked).get("features") or {}
    if not found.get(feature):
        raise ContainerError(f"{option}: criu says that this kernel lacks {feature}")
