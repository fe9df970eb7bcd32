"""A health check that pyengine runs itself under conmon, for a timer of systemd or for a user.

States and rules are pyconmon's (docs/pyconmon.md), so that nobody needs to know who checks.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import fcntl
import os
import select
import time

from pyengine import jsontext, log
from pyengine.config import programs, user
from pyengine.errors import ConflictError, RuntimeCallError
from pyengine.monitor import supervision
from pyengine.ocirun import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container
    from pyengine.specgen.types import HealthCheck

TIMED_OUT_CODE = -1
MAX_OUTPUT_BYTES = 4096


class Result:
    """How one run of the command ended."""

    __slots__ = ("code", "end", "output", "start")

    def __init__(self, start: str, code: int, output: str) -> None:
        self.start, self.end, self.code, self.output = start, _now(), code, output


def run(host: Host, container: Container, log_path: str) -> tuple[dict[str, Any], str]:
    """Run the check that is due once.

    Returns:
        the state of health, and what is to be done about it: none, kill, stop or restart.

    Raises:
        ConflictError: the container ended or was paused meanwhile, so that the result says nothing.
    """
    wanted = container.config["supervision"]
    directory = host.persist_dir(container.id)
    passed_path = f"{directory}/health.startup"  # how often the startup check has passed in a row
    with open(f"{directory}/health.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        passed = int(_read(passed_path) or 0)
        startup = wanted.get("startup")
        if startup is not None and passed >= max(1, startup["successes"]):
            startup = None
        result = _execute(host, container, startup or wanted["health"])
        runtime = host.runtime(container.config["runtime"])
        if result.code != 0 and (runtime.state(container.id) or {}).get("status") != "running":
            raise ConflictError(
                f"health check of container {container.id}: no result: the container has ended or"
                " was paused"
            )
        state = jsontext.loads(_read(log_path) or "{}") or new_state()
        if startup is not None:
            _replace(passed_path, str(passed + 1 if result.code == 0 else 0))
            action = _conclude_startup(state, startup, result)
        else:
            in_period = time.time() < _period_end(container)
            action = _conclude(state, wanted["health"], result, in_period=in_period)
        _add_entry(state, result, wanted["log_count"], wanted["log_size"])
        _replace(log_path, jsontext.dumps(state))
    return state, wanted["on_failure"] if action == "unhealthy" else action


def new_state() -> dict[str, Any]:
    """Before the first check."""
    return {"Status": "starting", "FailingStreak": 0, "Log": []}


def begin(log_path: str) -> None:
    """A container starts."""
    _replace(log_path, jsontext.dumps(new_state()))


def _period_end(container: Container) -> float:
    period_ns = container.config["supervision"]["health"]["start_period_ns"]
    return (container.started_at or 0.0) + period_ns / 1e9


def _conclude(state: dict[str, Any], check: HealthCheck, result: Result, *, in_period: bool) -> str:
    """``unhealthy`` when it has just become so, else ``none``."""
    before = state["Status"]
    if result.code == 0:
        state.update(Status="healthy", FailingStreak=0)
    elif before != "starting" or not in_period:
        state["FailingStreak"] += 1
        if state["FailingStreak"] >= check["retries"]:
            state["Status"] = "unhealthy"
    return "unhealthy" if state["Status"] == "unhealthy" != before else "none"


def _conclude_startup(state: dict[str, Any], check: HealthCheck, result: Result) -> str:
    """``restart`` when it did not come up, else ``none``."""
    state["FailingStreak"] = 0 if result.code == 0 else state["FailingStreak"] + 1
    return "restart" if 0 < check["retries"] <= state["FailingStreak"] else "none"


def _add_entry(state: dict[str, Any], result: Result, count: int, size: int) -> None:
    output = result.output[:size] if size else result.output
    entry = {"Start": result.start, "End": result.end, "ExitCode": result.code, "Output": output}
    state["Log"] = [*state["Log"], entry][-count:] if count else [*state["Log"], entry]


def _execute(host: Host, container: Container, check: HealthCheck) -> Result:
    """Run the command by the runtime's exec; one that takes too long is killed in the container."""
    runtime = host.runtime(container.config["runtime"])
    pid_file = f"{host.bundle(container.id)}/health.pid"
    argv = [runtime.path, *runtime.flags, "exec", "--pid-file", pid_file, container.id,
            *supervision.argv(check)]  # fmt: skip
    start = _now()
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, write_fd, 1),
        (os.POSIX_SPAWN_DUP2, write_fd, 2),
    ]
    try:
        pid = os.posix_spawn(
            argv[0], argv, os.environ, file_actions=actions, setsigdef=call.DEFAULT_SIGNALS
        )
    except OSError as error:
        os.close(read_fd)
        raise RuntimeCallError(f"execute {argv[0]}: {error.strerror}") from error
    finally:
        os.close(write_fd)
    try:
        output, in_time = _read_until_end(pid, read_fd, check["timeout_ns"] / 1e9)
    finally:
        os.close(read_fd)
    if not in_time:
        _kill(pid_file)
        os.kill(pid, _signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = output.decode("utf-8", "replace")
    if not in_time:
        limit_s = check["timeout_ns"] / 1e9
        return Result(start, TIMED_OUT_CODE, f"no result within {limit_s:g} s\n{text}")
    return Result(start, code if code >= 0 else 128 - code, text)


def _read_until_end(pid: int, fd: int, limit_s: float) -> tuple[bytes, bool]:
    """What a child prints until it ends, and whether that was in time."""
    deadline = time.monotonic() + limit_s
    output = b""
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.register(fd, select.POLLIN)
        os.set_blocking(fd, False)
        while (left_s := deadline - time.monotonic()) > 0:
            ready = [found for found, _ in poller.poll(left_s * 1000 + 1)]
            if fd in ready:
                data = _read_now(fd)
                if len(output) < MAX_OUTPUT_BYTES:
                    output += data
                if not data:
                    poller.unregister(fd)
            if pidfd in ready:
                return output + _read_now(fd), True
        return output, False
    finally:
        os.close(pidfd)


def _read_now(fd: int) -> bytes:
    try:
        return os.read(fd, MAX_OUTPUT_BYTES)
    except BlockingIOError:
        return b""


def _kill(pid_file: str) -> None:
    """End the command; killing its runtime alone would leave it running in the container."""
    try:
        os.kill(int(_read(pid_file)), _signal.SIGKILL)
    except (ValueError, ProcessLookupError) as error:
        log.debug(f"health check without a process: {error}")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _replace(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(temporary, path)


def _now() -> str:
    second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{nanosecond:09}Z"


# systemd's timers


def has_systemd() -> bool:
    """Whether a timer can be had."""
    return os.path.isdir("/run/systemd/system") and bool(programs.search("systemd-run", ""))


def start_timer(host: Host, container: Container) -> None:
    """Have systemd call ``healthcheck run`` from now on.

    Raises:
        RuntimeCallError: it refuses.
    """
    wanted = container.config["supervision"]
    check = wanted.get("startup") or wanted["health"]
    interval = f"{check['interval_ns'] / 1e9:g}s"
    _systemd(
        "systemd-run", "--quiet", f"--unit={_unit(host, container)}", f"--on-active={interval}",
        f"--on-unit-inactive={interval}", "--timer-property=AccuracySec=100ms",
        # A container that it starts again must outlive it.
        "--property=KillMode=process", f"--setenv=PATH={os.environ.get('PATH', '')}",
        *host.self_command, "healthcheck", "run", container.id,
    )  # fmt: skip


def stop_timer(host: Host, container: Container) -> None:
    """The container has ended."""
    unit = _unit(host, container)
    for words in (["stop", f"{unit}.timer"], ["reset-failed", f"{unit}.service"]):
        try:
            _systemd("systemctl", "--quiet", *words)
        except RuntimeCallError as error:  # it was never started, or has not failed
            log.debug(str(error))


def _unit(host: Host, container: Container) -> str:
    """Another one for each life: a check may be what restarts the container."""
    life = _read(f"{host.persist_dir(container.id)}/life")
    return f"pyengine-health-{container.id[:12]}-{life}"


def _systemd(program: str, *words: str) -> None:
    path = programs.search(program, "") or program
    options = ["--user"] if user.is_rootless() else []
    status, _, complaint = call.Running([path, *options, *words]).wait()
    if status != 0:
        text = complaint.decode("utf-8", "replace").strip() or f"exit status {status}"
        raise RuntimeCallError(f"{program} {' '.join(words[:3])}: {text}")
