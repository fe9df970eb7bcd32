"""Calls an OCI runtime by path, and turns its refusal into one of pyengine's errors."""

from __future__ import annotations

import os
import select

from pyengine import jsontext
from pyengine.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    RuntimeCallError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What crun, runc and pyrun write when the container's command cannot be executed; podman looks
# for the same words, and users know the sentences that it appends.
NOT_EXECUTABLE = "permission denied|operation not permitted|exec format error|is a directory"
NOT_FOUND = "executable file .*not found|no such file or directory|open executable"
ALREADY_GONE = (
    "does not exist|not running|process already finished|no such process|not found"
    "|container .* is stopped|status is stopped"
)
MAX_OUTPUT_BYTES = 1 << 20
PIPE_BYTES = 1 << 16  # all that a pipe holds
DEFAULT_SIGNALS = (13, 25)  # SIGPIPE and SIGXFSZ, which Python ignores and children would inherit


class Runtime:
    """One OCI runtime with its global options."""

    __slots__ = ("flags", "name", "path")

    def __init__(self, path: str, flags: list[str]) -> None:
        self.path, self.flags = path, flags
        self.name = os.path.basename(path)

    def start(self, id_: str) -> None:
        """Let the created process execute the user's program."""
        self.call("start", id_)

    def pause(self, id_: str) -> None:
        """Freeze every process of a running container."""
        self.call("pause", id_)

    def resume(self, id_: str) -> None:
        """Let a paused container go on."""
        self.call("resume", id_)

    def kill(self, id_: str, signal_number: int, *, everyone: bool = False) -> bool:
        """Send a signal to init or to every process; false when there is none any more."""
        options = ["--all"] if everyone else []
        try:
            self.call("kill", *options, id_, str(signal_number))
        except RuntimeCallError as error:
            if says(ALREADY_GONE, str(error)):
                return False
            raise
        return True

    def delete(self, id_: str) -> None:
        """Remove what the runtime keeps of a container; one that it does not know is no error."""
        self.begin_delete(id_)()

    def begin_delete(self, id_: str) -> Callable[[], None]:
        """As ``delete``, which the answer waits for; meanwhile the caller can do other things."""
        running = Running([self.path, *self.flags, "delete", "--force", id_])

        def finish() -> None:
            try:
                self._output(running)
            except RuntimeCallError as error:
                if not says(ALREADY_GONE, str(error)):
                    raise

        return finish

    def state(self, id_: str) -> dict[str, Any] | None:
        """The runtime's view (runtime-spec, "State"), or nothing where it knows no such id."""
        try:
            output = self.call("state", id_)
        except RuntimeCallError as error:
            if says(ALREADY_GONE, str(error)) or "no such file" in str(error).lower():
                return None
            raise
        try:
            found = jsontext.loads(output)
        except ValueError as error:
            raise RuntimeCallError(f"{self.name}: state {id_}: not JSON: {error}") from error
        return found if isinstance(found, dict) else None

    def version(self) -> str:
        """The first line that ``--version`` prints."""
        status, output, _ = Running([self.path, "--version"]).wait()
        return output.decode("utf-8", "replace").strip() if status == 0 else ""

    def call(self, *arguments: str) -> bytes:
        """Run one command and wait for it; the answer is what it printed.

        Raises:
            RuntimeCallError: it failed, or a subclass where the container's command is at fault.
        """
        return self._output(Running([self.path, *self.flags, *arguments]))

    def _output(self, running: Running) -> bytes:
        status, output, complaint = running.wait()
        if status != 0:
            text = complaint.decode("utf-8", "replace") or f"exit status {status}"
            raise error_of(self.name, text)
        return output


def says(pattern: str, text: str) -> bool:
    """Whether a runtime's words hold one of the pattern's, in whatever case."""
    import re  # only where something went wrong

    return re.search(pattern, text, re.IGNORECASE) is not None


def error_of(name: str, text: str) -> RuntimeCallError:
    """The error that a runtime's words stand for, in podman's form."""
    message = _last_message(text)
    if says(NOT_EXECUTABLE, message):
        return CommandNotExecutableError(f"{name}: {message}: OCI permission denied")
    if says(NOT_FOUND, message):
        return CommandNotFoundError(
            f"{name}: {message}: OCI runtime attempted to invoke a command that was not found"
        )
    return RuntimeCallError(f"{name}: {message}: OCI runtime error")


def _last_message(text: str) -> str:
    """The last JSON log record's ``msg`` at error level, or the text as it is."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            record = jsontext.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("level", "error") in ("error", "fatal"):
            return str(record.get("msg", "")).strip()
    import re

    plain = [re.sub(r'^time="[^"]*" level=\w+ msg=', "", line) for line in lines]
    return plain[-1].strip().strip('"') if plain else "no message"


class Running:
    """A program that was started with no input, by posix_spawn: subprocess costs too much.

    ``wait`` must be called.
    """

    __slots__ = ("_fds", "_pid")

    def __init__(self, argv: list[str]) -> None:
        """Start it.

        Raises:
            RuntimeCallError: it cannot be executed.
        """
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out_write, 1),
            (os.POSIX_SPAWN_DUP2, err_write, 2),
        ]
        self._fds = (out_read, err_read)
        environment = dict(os.environ)
        environment.pop("NOTIFY_SOCKET", None)  # runc would wait for what we or conmon tell
        try:
            self._pid = os.posix_spawn(
                argv[0], argv, environment, file_actions=actions, setsigdef=DEFAULT_SIGNALS
            )
        except OSError as error:
            for fd in self._fds:
                os.close(fd)
            raise RuntimeCallError(f"execute {argv[0]}: {error.strerror}") from error
        finally:
            os.close(out_write)
            os.close(err_write)

    def wait(self) -> tuple[int, bytes, bytes]:
        """Its status (128+N for signal N), output and complaints."""
        pidfd = os.pidfd_open(self._pid)
        try:
            out, err = _drain(pidfd, *self._fds)
        finally:
            for fd in (pidfd, *self._fds):
                os.close(fd)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return (status if status >= 0 else 128 - status), out, err


def _drain(pidfd: int, *fds: int) -> list[bytes]:
    """Read pipes to their end; what is past the limit is thrown away.

    At the latest until the process has ended: a container's hook may have left a daemon behind
    that keeps its standard error open for ever.
    """
    poller = select.poll()
    for fd in (pidfd, *fds):
        poller.register(fd, select.POLLIN)
    texts = {fd: bytearray() for fd in fds}
    open_fds, ended = set(fds), False
    while open_fds and not ended:
        ready = {fd for fd, _ in poller.poll()}
        if pidfd in ready:
            ended = True
            ready = {fd for fd, _ in poller.poll(0)}  # what it wrote last
        for fd in ready & open_fds:
            data = os.read(fd, PIPE_BYTES)
            if not data:
                poller.unregister(fd)
                open_fds.remove(fd)
            elif len(texts[fd]) < MAX_OUTPUT_BYTES:
                texts[fd] += data
    return [bytes(text) for text in texts.values()]
