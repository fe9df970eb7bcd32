"""One life: start the container, report its pid, keep its output, record its exit."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import posix
import time

from pyconmon import (
    caller,
    channels,
    children,
    control,
    diagnostics,
    exits,
    files,
    logs,
    loop,
    oom,
    processes,
    record,
    stdio,
)
from pyconmon.errors import MonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyconmon.health import Health
    from pyconmon.notify import NotifyRelay
    from pyconmon.options import Options
    from pyconmon.restart import Restart
    from pyconmon.seccomp_notify import SeccompNotify

_UMASK = 0o022
_TIMED_OUT = "command timed out"
# A container that lives for so long is likely to go on.
_SETTLED_S = 1
_DELAYS = 9  # of the same length, while others need the processors
_FAULT_PAUSE_S = 0.1


def main(options: Options, began_ns: int) -> int:
    """Open the logs while the caller can see what is wrong with them, and monitor.

    Args:
        options: the command line.
        began_ns: what of the package is younger may be of another version.

    Returns:
        the exit status of the process.
    """
    diagnostics.configure(options.log_level, options.cid or "", options.log_tag, options.syslog)
    posix.umask(_UMASK)
    inherited = children.inherited_fds()
    try:
        the_logs = logs.open_drivers(options)
        oom.protect_monitor()
        return Monitor(options, the_logs, inherited, began_ns).run()
    except MonitorError as error:
        diagnostics.error(str(error))
    except OSError as error:  # a fork
        diagnostics.error(f"Failed to start the monitor: {error.strerror}")
    return 1


def resume(
    options: Options,
    the_logs: logs.Logs,
    state: dict[str, Any],
    the_loop: loop.Loop,
    outputs: list[stdio.Output],
    tail: stdio.Tail,
) -> int:
    """Go on where ``hand_over`` left a monitor; the resident program calls this.

    Returns:
        the exit status of the process.
    """
    oom.remember_score(state["oom_score"])
    children.remember_mask(state["mask"])
    monitor = Monitor(options, the_logs, set(state["inherited"]), state["began_ns"])
    return monitor.resume(state, the_loop, outputs, tail)


class Monitor:
    """The monitor of one container or of one exec session."""

    __slots__ = (
        "_began_ns", "_channels", "_code", "_delays", "_environment", "_health", "_inherited",
        "_life", "_logs", "_loop", "_notify", "_oom", "_options", "_pid", "_problem",
        "_processes", "_restart", "_seccomp", "_start_fd", "_started", "_sync",
    )  # fmt: skip

    def __init__(
        self, options: Options, the_logs: logs.Logs, inherited: set[int], began_ns: int
    ) -> None:
        self._options = options
        self._logs = the_logs
        self._inherited = inherited
        self._began_ns = began_ns
        self._environment = children.environment()
        self._start_fd = -1
        self._delays = _DELAYS
        self._started = False  # the runtime was called: from now on the exit command is owed
        self._code: int | None = None
        self._problem = ""
        self._life = record.Life()
        self._oom: oom.WatchV1 | oom.WatchV2 | None = None
        self._health: Health | None = None
        self._notify: NotifyRelay | None = None
        self._seccomp: SeccompNotify | None = None
        self._restart: Restart | None = None

    # Becoming a monitor

    def run(self) -> int:
        """Live; the result is the exit status of the process.

        Raises:
            MonitorError: it failed while the caller could still see it on standard error.
        """
        from pyconmon import startup

        options = self._options
        self._start_fd = startup.wait_for_caller(options, self._inherited)
        if not startup.detach(options):
            return 0
        self._sync, attach_pipe = startup.result_pipes(options, self._inherited)
        if not self._logs.passthrough:
            stdio.disconnect_standard_streams()
        startup.leave_session()
        self._pid = posix.getpid()
        self._set_up(loop.Loop())
        return self._live(lambda: self._start(attach_pipe))

    def resume(
        self,
        state: dict[str, Any],
        the_loop: loop.Loop,
        outputs: list[stdio.Output],
        tail: stdio.Tail,
    ) -> int:
        """As ``run``, from ``state`` on, in which nothing but output has happened."""
        self._pid = posix.getpid()
        self._sync = caller.ResultPipe(*state["sync"])
        self._started = True
        self._set_up(the_loop)
        return self._live(lambda: self._restore(state, outputs, tail))

    def _set_up(self, the_loop: loop.Loop) -> None:
        self._loop = the_loop
        self._channels = channels.Channels(
            self._options, the_loop, self._logs, self._on_request, self._fail
        )
        self._processes = processes.Processes(
            the_loop, self._after_runtime, self._after_container, self._after_other
        )

    def _live(self, begin: Callable[[], None]) -> int:
        try:
            begin()
            self._run_loop()
            status = self._finish()
        except Exception as error:  # noqa: BLE001 - nobody would see it; the clean-up must follow
            status = 1
            text = f"{error.strerror}" if isinstance(error, OSError) else str(error)
            diagnostics.error(text)
            self._sync.send(-1, text)
        return self._clean_up() or status

    def _run_loop(self) -> None:
        """Wait for the end; what fails meanwhile must not leave a container without a monitor."""
        while True:
            try:
                self._loop.run()
            except Exception as error:
                if self._processes.container_pid < 0 and self._code is None:
                    raise
                diagnostics.error(f"the monitor goes on after {type(error).__name__}: {error}")
                if self._code is not None:
                    return
                time.sleep(_FAULT_PAUSE_S)
                self._loop.raise_signal(_signal.SIGCHLD)  # perhaps what could not be handled
            else:
                return

    # Starting the container

    def _start(self, attach_pipe: caller.ResultPipe | None) -> None:
        options = self._options
        self._listen_to_signals()
        children.unblock_signals()
        if options.sdnotify_socket:
            from pyconmon.notify import NotifyRelay

            self._notify = NotifyRelay(self._loop, options.sdnotify_socket, options.bundle or "")
        if options.seccomp_notify_socket:
            from pyconmon.seccomp_notify import SeccompNotify

            self._seccomp = SeccompNotify(self._loop, options)
        pipes = self._channels.open_streams()
        if options.bundle and not self._logs.passthrough:
            self._channels.open_bundle(options.bundle)
            if attach_pipe:
                attach_pipe.send(0)
        if options.exec:
            # A pid file left by an earlier session must not be taken for this one's.
            files.remove(options.container_pidfile or "")
        self._processes.runtime_pid = children.start(
            options.runtime or "", lambda: self._become_runtime(pipes.child_fds)
        )
        self._started = True
        pipes.close_child_side()
        if options.timeout_s > 0:
            self._loop.after(options.timeout_s, self._on_timeout)
        if self._logs.passthrough:
            stdio.disconnect_standard_streams()
        if self._start_fd >= 0:
            posix.close(self._start_fd)

    def _listen_to_signals(self) -> None:
        self._loop.on_signal(_signal.SIGCHLD, self._reap)
        for number in children.FORWARDED_SIGNALS:
            self._loop.on_signal(number, self._forward)
        for number in (_signal.SIGHUP, _signal.SIGUSR1):
            self._loop.on_signal(number, self._reap)  # nothing that should end a monitor

    def _become_runtime(self, stdio_fds: tuple[int, int, int]) -> None:
        """In the child, whose memory is its own: what calls a runtime is loaded here only."""
        from pyconmon import runtime_call

        runtime_call.become(
            self._options,
            self._environment,
            self._channels.console.path if self._channels.console else None,
            None if self._logs.passthrough else stdio_fds,
            self._start_fd,
            self._pid,
        )

    def _on_request(self, number: int) -> None:
        if number == control.TAKE_ORDERS:
            self._take_orders()
        elif self._health:
            self._health.check_now()
        else:
            diagnostics.warn("a health check was asked for, and there is none")

    def _take_orders(self) -> None:
        """Go on with other health checks and another policy."""
        from pyconmon import orders

        if not orders.take(self._options) or self._life.health_action:  # it is being ended
            return
        if self._health:
            self._health.stop()
            self._health = None
        self._begin_checks(self._processes.container_pid)

    def _begin_checks(self, pid: int) -> None:
        if self._options.health_command:
            from pyconmon.health import Health

            self._health = Health(self._loop, self._options, pid, self._on_unhealthy)

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._loop.stop()

    # Waiting in less memory (docs/adr/0022)

    def _hand_over(self) -> None:
        """Let the resident program wait, if nothing is under way that it knows nothing of.

        Its start takes more time than all the monitor did before; many containers that are started
        at once do not wait for those of their monitors.
        """
        if self._delays and _is_busy():
            self._delays -= 1
            self._hand_over_later()
            return
        try:
            from pyconmon import handover
        except ImportError as error:  # pyconmon is being replaced at this moment
            diagnostics.debug(f"the monitor stays as it is: {error}")
            return
        state = self._state()
        if state is None:
            handover.hold_modules(self._began_ns)
            return
        handover.execute(state, self._environment, self._loop)
        if self._loop.has_signals:
            self._hand_over_later()

    def _hand_over_later(self) -> None:
        if self._processes.container_pid > 0 and not self._options.exec:
            self._loop.cancel(self._hand_over)
            self._loop.after(_SETTLED_S, self._hand_over)

    def _state(self) -> dict[str, Any] | None:
        options, life = self._options, self._life
        special = self._health or self._seccomp or options.sdnotify_socket
        if special or options.timeout_s > 0 or self._processes.container_pid < 0:
            return None
        state = self._channels.state()
        if state is None:
            return None
        return {
            **state,
            "options": {name: getattr(options, name) for name in _fields(options)},
            "diagnostics": (options.log_level, options.cid, options.log_tag, options.syslog),
            "inherited": sorted(self._inherited),
            "mask": children.given_mask(),
            "began_ns": self._began_ns,
            "pid": self._processes.container_pid,
            "created_ns": life.created_ns,
            "oom_killed": life.oom_killed,
            "forwarded_signal": life.forwarded_signal,
            "oom": self._oom.state() if self._oom else None,
            "oom_events": self._oom.EVENTS if self._oom else 0,
            "oom_score": oom.score(),
            "sync": self._sync.state(),
        }

    def _restore(
        self, state: dict[str, Any], outputs: list[stdio.Output], tail: stdio.Tail
    ) -> None:
        life = self._life
        self._listen_to_signals()
        life.created_ns, life.oom_killed = state["created_ns"], state["oom_killed"]
        life.forwarded_signal = state["forwarded_signal"]
        server = self._channels.restore(state, outputs, tail)
        server.on_empty = self._hand_over_later
        if state["oom"]:
            self._oom = oom.restored_watch(self._loop, state["oom"], self._on_oom)
        self._processes.container_pid = state["pid"]
        self._loop.raise_signal(_signal.SIGCHLD)
        self._hand_over_later()

    # Children

    def _reap(self, _number: int) -> None:
        self._processes.reap()

    def _forward(self, number: int) -> None:
        self._life.forwarded_signal = number
        self._processes.signal(number)

    def _after_other(self, pid: int, status: int) -> bool:
        return self._health is not None and self._health.reaped(pid, status)

    def _after_runtime(self, status: int) -> None:
        """The runtime's command has ended: the container exists, or why it does not."""
        options = self._options
        self._channels.stderr.drain()
        code = exits.code_of(status)
        pid = self._read_pid_file() if code == 0 or options.exec else None
        if pid is None:
            self._fail(self._channels.stderr.first_words() or self._why_no_pid(code))
            return
        if self._channels.console:
            self._channels.console.receive_waiting()
        if self._channels.lacks_terminal:
            self._fail(self._problem or "Runtime did not set up terminal")
            return
        diagnostics.debug(f"container PID: {pid}")
        self._life.created_ns = time.time_ns()
        self._begin_checks(pid)
        # Callers before api version 1 expect one number from an exec: its exit code.
        if options.api_version or not options.exec:
            self._sync.send(pid)
        self._oom = oom.create_watch(self._loop, pid, self._on_oom)
        self._channels.stdout.release()
        self._channels.stderr.release()
        if options.timeout_s > 0:  # counted anew: conmon counts from here
            self._loop.cancel(self._on_timeout)
            self._loop.after(options.timeout_s, self._on_timeout)
        if self._processes.await_container(pid):
            self._hand_over_later()
            if self._channels.attach:
                self._channels.attach.on_empty = self._hand_over_later

    def _read_pid_file(self) -> int | None:
        path = self._options.container_pidfile or ""
        try:
            return int(files.read_all(path))
        except (OSError, ValueError) as error:
            diagnostics.warn(f"Failed to read pidfile {path}: {error}")
            return None

    def _why_no_pid(self, code: int) -> str:
        runtime = self._options.runtime
        if code == 0:
            return f"{runtime} wrote no pid to {self._options.container_pidfile}"
        how = f"was killed by signal {code - 128}" if code > 128 else f"exited with status {code}"
        return f"{runtime} {how} and gave no reason"

    def _after_container(self, status: int | None) -> None:
        self._life.status = status
        self._code = exits.UNKNOWN if status is None else exits.code_of(status)
        pid = self._processes.container_pid
        diagnostics.info(f"container {pid} exited with status {self._code}")
        self._loop.stop()

    def _on_unhealthy(self, action: str) -> None:
        diagnostics.info(f"container is unhealthy: {action}")
        if action == "none" or self._processes.container_pid < 0 or not self._health:
            return
        self._health.stop()
        self._life.health_action = action
        if action == "kill":
            self._kill_container()
            return
        self._loop.after(self._options.stop_timeout_s, self._kill_container)
        self._processes.signal(self._options.stop_signal)

    def _kill_container(self) -> None:
        self._processes.signal(_signal.SIGKILL)

    def _on_oom(self) -> None:
        if not self._life.oom_killed:  # a container that lives on may meet its limit often
            self._life.oom_killed = True
            exits.record_oom(self._options)

    def _on_timeout(self) -> None:
        runtime_pid = self._processes.runtime_pid
        self._reap(_signal.SIGCHLD)  # who has ended in time, however late this is
        if self._problem or self._code is not None or self._processes.runtime_pid != runtime_pid:
            return
        if self._processes.runtime_pid > 0:
            self._fail(f"{self._options.runtime} did not end within {self._options.timeout_s} s")
            return
        diagnostics.info(f"{_TIMED_OUT} after {self._options.timeout_s} s: killing the container")
        self._life.timed_out = True
        self._code = exits.UNKNOWN
        self._loop.stop()

    # The end

    def _finish(self) -> int:
        """Record the exit and return it."""
        if self._health:
            self._health.stop()
            self._loop.cancel(self._kill_container)
        if self._code is None:
            raise MonitorError(self._problem)
        try:
            self._gather(self._code)
        except Exception as error:  # noqa: BLE001 - the exit code is worth more than what is missing
            diagnostics.error(f"at the container's end: {type(error).__name__}: {error}")
        exits.record(self._options, self._code)
        if self._options.exec:
            self._sync.send(self._code, _TIMED_OUT if self._life.timed_out else "")
        return self._code & 0xFF

    def _gather(self, code: int) -> None:
        """All that is known besides the code, and what must be done before anyone knows it."""
        if self._oom:
            self._oom.check()
            self._life.peak_memory_bytes = oom.peak_bytes(self._oom)
        if self._life.timed_out:
            children.kill_group(self._processes.container_pid)
        self._channels.drain()
        if self._notify:
            self._notify.relay_waiting()
        self._logs.finish(sync=not self._options.no_sync_log)
        # The caller's sockets that keep published ports busy: free before anyone learns of the end.
        for fd in self._inherited:
            try:
                posix.close(fd)
            except OSError as error:
                diagnostics.debug(f"close {fd}: {error.strerror}")
        if self._options.restart_policy != "no" or self._life.health_action == "restart":
            from pyconmon import restart

            self._restart = restart.decide(self._options, self._life, code)
        if self._options.persist_dir and not self._options.exec:
            # First, so that whoever has seen the exit file finds it.
            record.write(
                self._options.persist_dir,
                self._life,
                self._channels.tail.data,
                code,
                self._restart,
            )

    def _clean_up(self) -> int:
        """Leave nothing behind and run the exit command, whatever happened before.

        Returns:
            the exit command's status; 0 without one.
        """
        if self._processes.runtime_pid > 0:
            posix.kill(self._processes.runtime_pid, _signal.SIGKILL)
            posix.waitpid(self._processes.runtime_pid, 0)
        self._loop.cancel(self._hand_over)
        self._sync.close()
        if self._seccomp:
            self._seccomp.close()
        self._channels.close_entrances()
        if self._options.exit_command and self._started:
            if self._restart and not self._wait_for_restart(self._restart):
                self._restart = None
            self._processes.command_pid = exits.start_command(
                self._options, self._environment, self._restart
            )
        self._channels.serve_last_clients()
        if self._processes.command_pid > 0:
            return exits.wait_for_command(self._processes.command_pid)
        return max(self._processes.command_code, 0)

    def _wait_for_restart(self, due: Restart) -> bool:
        from pyconmon import restart

        return restart.wait(self._loop, due, self._options)


def _fields(options: Options) -> list[str]:
    """The names; a resumed monitor has them without the class."""
    return list(getattr(options, "__slots__", None) or vars(options))


def _is_busy() -> bool:
    """Whether more processes want to run just now than there are processors (proc(5), loadavg)."""
    try:
        fd = posix.open("/proc/loadavg", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        running = posix.read(fd, 128).split()[3].partition(b"/")[0]
    finally:
        posix.close(fd)
    return int(running) > (posix.cpu_count() or 1)
