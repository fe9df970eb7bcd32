"""Health checks: a command that the runtime executes in the container again and again.

Loaded only when a check is asked for. The contract with the engine is docs/pyconmon.md; states and
log have the shape that ``podman inspect`` and ``docker inspect`` show.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix
import time

from pyconmon import caller, children, diagnostics, exits, files, loop, oom, record, stdio
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyconmon.options import Options

STARTING = "starting"
HEALTHY = "healthy"
UNHEALTHY = "unhealthy"

_TIMED_OUT_CODE = -1
_READ_BYTES = 4096


class Check:
    """What is run, and how often; the startup check runs first where there is one."""

    __slots__ = ("command", "interval_s", "retries", "timeout_s")

    def __init__(
        self, command: list[str], interval_s: float, timeout_s: float, retries: int
    ) -> None:
        self.command = command
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self.retries = retries


class Result:
    """How one run of the command ended."""

    __slots__ = ("code", "end_ns", "output", "start_ns")

    def __init__(self, start_ns: int, code: int, output: str) -> None:
        self.start_ns = start_ns
        self.end_ns = time.time_ns()
        self.code = code
        self.output = output


class Health:
    """The state of one container's health and the timer of its next check.

    A check runs only in a container that is known to run, and a failure counts only if it still
    runs afterwards: nobody tells a monitor that its container was started, paused or resumed. The
    command stands still with a paused container; its time begins anew then, and again.
    """

    __slots__ = (
        "_asking", "_check", "_container_pid", "_entries", "_failures", "_log_path", "_loop",
        "_on_failure", "_options", "_output", "_output_fd", "_period_end", "_pid", "_pid_file",
        "_running", "_start_ns", "_startup_successes", "_status", "_stopped", "_timed_out",
        "_unconfirmed",
    )  # fmt: skip

    def __init__(
        self,
        the_loop: loop.Loop,
        options: Options,
        container_pid: int,
        on_failure: Callable[[str], None],
    ) -> None:
        self._loop = the_loop
        self._options = options
        self._container_pid = container_pid
        self._on_failure = on_failure
        self._log_path = options.health_log or f"{options.persist_dir}/health.json"
        self._pid_file = f"{options.persist_dir}/health.pid"
        self._status = STARTING
        self._failures = self._startup_successes = 0
        self._entries: list[str] = []
        self._pid = self._output_fd = -1
        self._output = b""
        self._start_ns = 0
        self._running = self._asking = self._timed_out = self._stopped = False
        self._unconfirmed: Result | None = None
        self._period_end = time.monotonic() + options.health_start_period_s
        self._check = self._startup() if options.health_startup_command else self._regular()
        self._write_log()
        self._schedule()

    def _startup(self) -> Check:
        given = self._options
        return Check(
            given.health_startup_command,
            given.health_startup_interval_s,
            given.health_startup_timeout_s,
            given.health_startup_retries,
        )

    def _regular(self) -> Check:
        given = self._options
        return Check(
            given.health_command,
            given.health_interval_s,
            given.health_timeout_s,
            given.health_retries,
        )

    @property
    def _in_startup(self) -> bool:
        return self._check.command is self._options.health_startup_command

    def _in_start_period(self) -> bool:
        return self._status == STARTING and time.monotonic() < self._period_end

    def _schedule(self) -> None:
        if self._stopped:
            return
        interval_s = self._check.interval_s
        start_interval_s = self._options.health_start_interval_s
        if start_interval_s and not self._in_startup and self._in_start_period():
            interval_s = min(interval_s, start_interval_s)
        if interval_s:
            self._loop.after(interval_s, self._next)

    def check_now(self) -> None:
        """Run the check, unless it runs already, and begin the interval anew."""
        if self._pid < 0 and not self._stopped:
            self._loop.cancel(self._next)
            self._next()

    # One call of the runtime

    def _next(self) -> None:
        if self._running:
            self._call("exec", "--pid-file", self._pid_file, self._options.cid or "",
                       *self._check.command)  # fmt: skip
        else:
            self._ask()

    def _ask(self) -> None:
        self._asking = True
        self._call("state", self._options.cid or "")

    def _call(self, *arguments: str) -> None:
        argv = [self._options.runtime or "", *self._options.runtime_args, *arguments]
        self._output, self._timed_out = b"", False
        self._start_ns = time.time_ns()
        self._output_fd, write_fd = posix.pipe2(posix.O_CLOEXEC)
        stdio.set_nonblocking(self._output_fd)
        try:
            files.remove(self._pid_file)
            self._pid = children.start(argv[0], lambda: _become(argv, write_fd))
        except (OSError, MonitorError) as error:
            posix.close(self._output_fd)
            self._output_fd = -1
            diagnostics.warn(f"health check of {self._options.cid}: {error}")
            self._asking = False
            self._schedule()
            return
        finally:
            posix.close(write_fd)
        self._loop.watch(self._output_fd, loop.READ, self._read)
        self._loop.after(self._check.timeout_s, self._on_timeout)

    def _read(self, events: int) -> None:
        try:
            data = posix.read(self._output_fd, _READ_BYTES)
        except BlockingIOError:
            return
        # Read to the end, or the command would wait; kept is only what the log takes.
        if len(self._output) < _READ_BYTES:
            self._output += data
        if not data and events & loop.HANGUP:
            self._close_output()

    def _close_output(self) -> None:
        if self._output_fd >= 0:
            self._loop.forget(self._output_fd)
            posix.close(self._output_fd)
            self._output_fd = -1

    def _on_timeout(self) -> None:
        if _has_ended(self._pid):  # in time: it is only not reaped yet
            return
        if not self._asking and _is_frozen(self._container_pid):
            self._loop.after(self._check.timeout_s, self._on_timeout)
            return
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        """End the command in the container, and the runtime that waits for it."""
        try:
            children.kill_group(int(files.read_all(self._pid_file)))
        except (OSError, ValueError) as error:
            diagnostics.debug(f"health check without a process: {error}")
        if self._pid > 0:
            posix.kill(self._pid, _signal.SIGKILL)

    def reaped(self, pid: int, status: int) -> bool:
        """Take the end of the check that runs; ``False`` for another process."""
        if pid != self._pid:
            return False
        self._pid = -1
        self._loop.cancel(self._on_timeout)
        if self._stopped:
            return True
        if self._output_fd >= 0:
            self._read(0)
            self._close_output()
        if self._asking:
            self._asking = False
            self._after_state(running=_status_of(self._output) == "running")
        else:
            self._after_check(exits.code_of(status))
        return True

    def _after_check(self, code: int) -> None:
        text = self._output.decode("utf-8", "replace")
        if self._timed_out:
            code, text = _TIMED_OUT_CODE, f"no result within {self._check.timeout_s:g} s\n{text}"
        result = Result(self._start_ns, code, text)
        if code == 0:
            self._conclude(result)
            self._schedule()
        else:
            self._unconfirmed = result
            self._ask()

    def _after_state(self, *, running: bool) -> None:
        result, self._unconfirmed = self._unconfirmed, None
        was_running, self._running = self._running, running
        if result and running:
            self._conclude(result)
        elif running and not was_running:
            self._next()
            return
        elif self._status == STARTING and not self._entries:  # created and not yet started
            self._period_end = time.monotonic() + self._options.health_start_period_s
        self._schedule()

    def stop(self) -> None:
        """The container has ended or is about to: no more checks."""
        self._stopped = True
        self._loop.cancel(self._next)
        self._loop.cancel(self._on_timeout)
        if self._pid > 0:
            self._kill()
        self._close_output()
        try:
            files.remove(self._pid_file)
        except OSError as error:
            diagnostics.warn(f"Failed to remove {self._pid_file}: {error.strerror}")

    # What follows from it

    def _conclude(self, result: Result) -> None:
        before, code = self._status, result.code
        restart = False
        if self._in_startup:
            restart = self._conclude_startup(code)
        elif code == 0:
            self._status, self._failures = HEALTHY, 0
        elif not self._in_start_period():
            self._failures += 1
            if self._failures >= self._check.retries:
                self._status = UNHEALTHY
        self._add_entry(result)
        if self._options.health_events:
            self._tell(self._options.health_events)
        self._write_log()  # last: who asked for the check waits for it
        if restart:
            self._on_failure("restart")
        elif self._status == UNHEALTHY != before:
            self._on_failure(self._options.health_on_failure)

    def _conclude_startup(self, code: int) -> bool:
        """``True`` when the container did not come up and has to be started anew."""
        if code == 0:
            self._failures = 0
            self._startup_successes += 1
            if self._startup_successes >= max(1, self._options.health_startup_successes):
                self._check = self._regular()
            return False
        self._failures += 1
        self._startup_successes = 0
        return 0 < self._check.retries <= self._failures

    def _add_entry(self, result: Result) -> None:
        limit = self._options.health_max_log_size
        entry = (
            ("Start", _string(record.timestamp(result.start_ns))),
            ("End", _string(record.timestamp(result.end_ns))),
            ("ExitCode", str(result.code)),
            ("Output", _string(result.output[:limit] if limit else result.output)),
        )
        self._entries.append("{" + ", ".join(f'"{name}": {value}' for name, value in entry) + "}")
        count = self._options.health_max_log_count
        if count:
            del self._entries[:-count]

    def _tell(self, path: str) -> None:
        """Add an event: one write to a file opened for appending, which the kernel keeps whole."""
        try:
            about = files.read_all(self._options.health_event or "").rstrip().removesuffix(b"}")
            stamp = record.timestamp(time.time_ns())
            line = f', "Time": "{stamp}", "health_status": "{self._status}"}}\n'.encode()
            flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
            fd = posix.open(path, flags, 0o600)
            try:
                posix.write(fd, about + line)
            finally:
                posix.close(fd)
        except OSError as error:
            diagnostics.warn(f"Failed to add an event to {path}: {error.strerror}")

    def _write_log(self) -> None:
        text = (
            f'{{"Status": "{self._status}", "FailingStreak": {self._failures},'
            f' "Log": [{", ".join(self._entries)}]}}\n'
        )
        try:
            files.replace(self._log_path, text, sync=False)
        except OSError as error:
            diagnostics.warn(f"Failed to write health log {self._log_path}: {error.strerror}")


def _become(argv: list[str], output_fd: int) -> None:
    null_fd = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)
    for target, fd in enumerate((null_fd, output_fd, output_fd)):
        posix.dup2(fd, target, inheritable=True)
    oom.restore_score()
    posix.execve(argv[0], argv, posix.environ)


def _has_ended(pid: int) -> bool:
    """Whether a child waits to be reaped."""
    options = posix.WEXITED | posix.WNOHANG | posix.WNOWAIT
    return pid > 0 and posix.waitid(posix.P_PID, pid, options) is not None


def _is_frozen(pid: int) -> bool:
    """Whether the container is paused (cgroups(7): the freezer of v1, ``cgroup.events`` of v2)."""
    for controller, name, mark in (
        ("freezer", "freezer.state", b"FR"),  # FROZEN, or FREEZING
        ("", "cgroup.events", b"frozen 1"),
    ):
        path = oom.cgroup_path(pid, controller)
        try:
            if path and mark in files.read_all(f"{path}/{name}"):
                return True
        except OSError as error:  # the container has ended, or there is no such hierarchy
            diagnostics.debug(f"{path}/{name}: {error.strerror}")
    return False


def _status_of(state: bytes) -> str:
    """The status in what ``runtime state`` prints; empty when it printed something else."""
    words = state.partition(b'"status"')[2].split(b'"', 2)
    return words[1].decode("ascii", "replace") if len(words) == 3 else ""


def _string(text: str) -> str:
    return f'"{text.translate(caller.JSON_ESCAPES)}"'
