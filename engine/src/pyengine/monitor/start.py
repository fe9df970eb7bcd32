"""Starts a container monitor (conmon's command line, versions 2.1 and 2.2) and talks to its pipes.

The monitor inherits a sync pipe, on which it reports the container's pid or what went wrong, and
a start pipe, on which it waits before it does anything. It is spawned before the bundle is ready,
so that its own start-up runs beside the engine's work, and is let go by one byte.
"""

from __future__ import annotations

import fcntl
import os

from pyengine import jsontext
from pyengine.errors import MonitorError, RuntimeCallError
from pyengine.ocirun import call

FIRST_FD = 3  # of the sync, start and attach pipes
FIRST_FREE_FD = 10  # above them, so that placing one does not overwrite the next
MAX_REPORT_BYTES = 1 << 20

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyengine.specgen.types import Logging


class Files:
    """Where the files of one monitored process are; all below its bundle but log and exit."""

    __slots__ = ("bundle", "exit_dir", "log", "static_dir")

    def __init__(self, bundle: str, exit_dir: str, log: str) -> None:
        self.bundle, self.exit_dir, self.log = bundle, exit_dir, log

    @property
    def pid(self) -> str:
        """The container's first process, on the host."""
        return f"{self.bundle}/pidfile"

    @property
    def monitor_pid(self) -> str:
        """The monitor's own pid."""
        return f"{self.bundle}/conmon.pid"

    @property
    def runtime_log(self) -> str:
        """What the runtime logs, one JSON record a line."""
        return f"{self.bundle}/oci-log"

    @property
    def complaints(self) -> str:
        """The monitor's standard error until it becomes a daemon."""
        return f"{self.bundle}/conmon.err"


class Call:
    """What a monitor is started for."""

    __slots__ = (
        "_first_fd", "_unwanted_fds", "arguments", "files", "id", "passes_through", "path",
        "runtime",
    )  # fmt: skip

    def __init__(self, path: str, id_: str, runtime: call.Runtime, files: Files) -> None:
        """Options of a monitor at ``path`` that every use has in common."""
        self.path, self.id, self.runtime, self.files = path, id_, runtime, files
        self.passes_through = False  # our own standard streams to the container
        self._first_fd = FIRST_FD
        self._unwanted_fds: Sequence[int] = ()
        self.arguments = [
            "--api-version", "1", "-c", id_, "-u", id_, "-r", runtime.path, "-b", files.bundle,
            "-p", files.pid, "--conmon-pidfile", files.monitor_pid, "--exit-dir", files.exit_dir,
            "--full-attach", "-l", files.log, "--log-level", "warning",
        ]  # fmt: skip
        flags = [*runtime.flags, "--log-format=json", "--log", files.runtime_log]
        for flag in flags:
            self.arguments.append(f"--runtime-arg={flag}")

    def stdio(self, *, stdin: bool, terminal: bool) -> None:
        """Give the process a stdin that clients may write to, or a terminal."""
        if terminal:
            self.arguments.append("-t")
        elif stdin:  # ends with the first client's, which a terminal must not: others come
            self.arguments.append("-i")

    def log(self, wanted: Logging, name: str, rotates: bool) -> None:
        """Keep the output as ``wanted`` says; a monitor that ``rotates`` keeps older files."""
        driver, arguments = wanted["driver"], self.arguments
        place = arguments.index("-l") + 1
        if driver == "json-file" and rotates:  # conmon has only this name for k8s-file
            arguments[place] = arguments[place].replace("k8s-file:", "json-file:", 1)
        elif driver not in ("k8s-file", "json-file"):
            arguments[place] = driver
        if driver == "journald":
            arguments += ["-n", name]
        self.passes_through = driver == "passthrough"
        if wanted.get("size_max_bytes"):
            arguments += ["--log-size-max", str(wanted["size_max_bytes"])]
            if rotates:
                arguments += ["--log-rotate", "--log-max-files", str(wanted.get("files", 1))]
        if wanted.get("tag"):
            arguments += ["--log-tag", wanted["tag"]]
        if wanted.get("label"):
            arguments += ["--log-label", wanted["label"]]

    def timeout(self, seconds: int) -> None:
        """Kill the container when it has run for so long."""
        self.arguments += ["--timeout", str(seconds)]

    def keep_keyring(self) -> None:
        """Let the container have our session keyring instead of a new one."""
        self.arguments.append("--runtime-opt=--no-new-keyring")

    def preserve_fds(self, count: int, unwanted: Sequence[int]) -> None:
        """Pass our descriptors from 3 on to the container; the monitor's own come after them.

        Where one is unwanted, there is /dev/null.
        """
        self._first_fd += count
        self._unwanted_fds = unwanted
        for word in ("--preserve-fds", str(count)):
            self.arguments.append(f"--runtime-opt={word}")

    def restore(self, images: str, *flags: str) -> None:
        """Let the runtime restore the container from a checkpoint instead of creating it."""
        self.arguments += ["--restore", images]
        self.arguments += [f"--runtime-opt={flag}" for flag in flags]

    def systemd_cgroup(self) -> None:
        """Let the runtime ask systemd for the cgroup."""
        self.arguments.append("-s")

    def exit_command(self, argv: list[str]) -> None:
        """What the monitor executes after it recorded the exit code."""
        self.arguments += ["--exit-command", argv[0]]
        for word in argv[1:]:
            self.arguments += ["--exit-command-arg", word]

    def exec_session(self, session: str, process_file: str, *, attach: bool) -> None:
        """Run another process in the container ``id`` instead of creating the container."""
        self.arguments[self.arguments.index("-u") + 1] = session
        self.arguments += ["-e", "--exec-process-spec", process_file]
        if attach:
            self.arguments.append("--exec-attach")

    def spawn(self, *, attach: bool = False) -> Monitor:
        """Start the monitor; it waits for ``Monitor.go``.

        Raises:
            MonitorError: it cannot be executed.
        """
        sync_fd, start_fd, attach_fd = range(self._first_fd, self._first_fd + 3)
        sync_read, sync_write = _pipe(attach_fd + 1)
        start_read, start_write = _pipe(attach_fd + 1)
        attach_read, attach_write = _pipe(attach_fd + 1) if attach else (-1, -1)
        own = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_OPEN, 2, self.files.complaints,
             os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        ]  # fmt: skip
        actions = [
            *([] if self.passes_through else own),
            *((os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in self._unwanted_fds),
            (os.POSIX_SPAWN_DUP2, sync_write, sync_fd),
            (os.POSIX_SPAWN_DUP2, start_read, start_fd),
        ]  # fmt: skip
        environment = dict(os.environ, _OCI_SYNCPIPE=str(sync_fd), _OCI_STARTPIPE=str(start_fd))
        environment.pop("NOTIFY_SOCKET", None)
        if attach:
            actions.append((os.POSIX_SPAWN_DUP2, attach_write, attach_fd))
            environment["_OCI_ATTACHPIPE"] = str(attach_fd)
        # posix_spawn(3) of Python knows no directory. conmon writes a file where it stands, and
        # whoever stands in the caller's keeps it from being unmounted.
        before_fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(self.files.bundle)
            pid = os.posix_spawn(
                self.path,
                [self.path, *self.arguments],
                environment,
                file_actions=actions,
                setpgroup=0,  # or the terminal's ctrl-c would reach it
                setsigmask=[],
                setsigdef=call.DEFAULT_SIGNALS,
            )
        except OSError as error:
            for fd in (sync_read, start_write, attach_read):
                _close(fd)
            raise MonitorError(f"start monitor {self.path}: {error.strerror}") from error
        finally:
            os.fchdir(before_fd)
            for fd in (before_fd, sync_write, start_read, attach_write):
                _close(fd)
        return Monitor(self, pid, sync_read, start_write, attach_read)


class Monitor:
    """A monitor that was spawned: a child of this process until it becomes a daemon."""

    __slots__ = ("_attach_fd", "_buffer", "_call", "_child", "_start_fd", "_sync_fd")

    def __init__(self, of: Call, child: int, sync_fd: int, start_fd: int, attach_fd: int) -> None:
        self._call, self._child = of, child
        self._sync_fd, self._start_fd, self._attach_fd = sync_fd, start_fd, attach_fd
        self._buffer = b""

    def go(self) -> None:
        """Let it create the container; a monitor that has died is noticed by what follows."""
        try:
            os.write(self._start_fd, b"\0")
        except BrokenPipeError:
            pass
        if self._attach_fd < 0:
            self._close_start()

    def wait_until_attachable(self) -> None:
        """Wait for an exec session's attach socket (the monitor then waits for ``attached``)."""
        os.read(self._attach_fd, 1024)
        _close(self._attach_fd)
        self._attach_fd = -1

    def attached(self) -> None:
        """Let an exec session start its process."""
        self.go()

    def wait_for_pid(self) -> int:
        """Wait until the runtime created the process; the answer is its pid on the host.

        Raises:
            RuntimeCallError: the runtime refused, or a subclass where the command is at fault.
            MonitorError: the monitor itself failed.
        """
        value, message = self._report()
        if self._child:
            os.waitpid(self._child, 0)
            self._child = 0
        if value > 0:
            return value
        raise self._runtime_error(message)

    @property
    def sync_fd(self) -> int:
        """Readable when the monitor has reported something."""
        return self._sync_fd

    def abandon(self) -> None:
        """End a monitor that still waits for ``go``; it has made nothing."""
        if self._child:
            os.kill(self._child, 9)
            os.waitpid(self._child, 0)
            self._child = 0
        self.close()

    def close(self) -> None:
        """Close the pipes; the monitor lives on."""
        self._close_start()
        for fd in (self._sync_fd, self._attach_fd):
            _close(fd)
        self._sync_fd = self._attach_fd = -1

    def _close_start(self) -> None:
        _close(self._start_fd)
        self._start_fd = -1

    def _report(self) -> tuple[int, str]:
        """The next record on the sync pipe: a number and, when negative, a message."""
        while b"\n" not in self._buffer and len(self._buffer) < MAX_REPORT_BYTES:
            data = os.read(self._sync_fd, 65536)
            if not data:
                break
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        if not line:
            raise MonitorError(f"{self._where()}: it ended without a report{self._complaints()}")
        try:
            record = jsontext.loads(line)
            value = record["data"] if "data" in record else record["pid"]
            return int(value), str(record.get("message") or "")
        except (ValueError, KeyError, TypeError) as error:
            raise MonitorError(f"{self._where()}: unreadable report {line!r}") from error

    def _runtime_error(self, message: str) -> RuntimeCallError | MonitorError:
        text = message
        try:
            with open(self._call.files.runtime_log, encoding="utf-8", errors="replace") as file:
                text = file.read() or message
        except FileNotFoundError:
            pass
        if not text:
            return MonitorError(f"{self._where()}: no message{self._complaints()}")
        return call.error_of(self._call.runtime.name, text)

    def _where(self) -> str:
        return f"monitor {self._call.path} of {self._call.id[:12]}"

    def _complaints(self) -> str:
        try:
            with open(self._call.files.complaints, encoding="utf-8", errors="replace") as file:
                text = file.read().strip()
        except FileNotFoundError:
            return ""
        return f": {text.splitlines()[-1]}" if text else ""


def _pipe(lowest: int) -> tuple[int, int]:
    """A pipe whose descriptors are out of the way of those that are placed."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    lowest = max(lowest, FIRST_FREE_FD)
    return _high(read_fd, lowest), _high(write_fd, lowest)


def _high(fd: int, lowest: int) -> int:
    if fd >= lowest:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return moved


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
