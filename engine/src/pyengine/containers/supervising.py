"""Health checks and restarts of containers, which the monitor runs (docs/pyconmon.md).

pyconmon does both. With conmon the exit command decides about restarts by the same rules; it then
waits as long as pyconmon would.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import os
import select
import time

from pyengine import jsontext, log, syscalls
from pyengine.containers import record
from pyengine.containers.host import make_directory
from pyengine.errors import ConfigError, ConflictError
from pyengine.monitor import exits, supervision
from pyengine.monitor.start import Call, Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.options import ContainerOptions
    from pyengine.containers.record import Container
    from pyengine.specgen.types import ContainerConfig, Supervision

# As pyconmon's (docs/adr/0018): the back-off doubles, and begins anew after a life of its own.
FIRST_DELAY_MS = 100
LONGEST_DELAY_MS = 60_000
SETTLED_S = 10
# A result is waited for so much longer than the command may take.
RESULT_SLACK_S = 10
ORDERS_S = 60  # a monitor takes its orders at once, but the machine may be busy


def choose_monitor(config: ContainerConfig, wanted: ContainerOptions, path: str) -> None:
    """Keep the monitor that a container is made with, once it is known to be able.

    Raises:
        ConfigError: health checks were asked for, and it runs none.
    """
    config["conmon"] = path
    config["restart_by_monitor"] = supervision.is_pyconmon(path)
    if not config["supervision"]:
        return
    who = "monitor" if config["restart_by_monitor"] else _who_else(config["supervision"])
    if who:
        config["supervision"]["by"] = who
        return
    image_alone = wanted.health_cmd is None and config["supervision"]["on_failure"] == "none"
    if image_alone and wanted.sdnotify != "healthy":
        log.warning(
            f"the image's HEALTHCHECK is not run, as the monitor {path} runs none and systemd does"
            " not run here: use pyconmon (--conmon), or --no-healthcheck to silence this"
        )
        config["supervision"] = {}
        config["may_restart"] = config["restart_policy"] != "no"
        return
    raise ConfigError(
        f"--health-cmd: the monitor {path} runs no health checks, and systemd, whose timers could,"
        " does not run here: use pyconmon (--conmon), --health-interval disable, or"
        " --no-healthcheck"
    )


def _who_else(wanted: Supervision) -> str:
    """Who checks where the monitor does not; empty for nobody."""
    check = wanted.get("startup") or wanted["health"]
    if not check["interval_ns"]:
        return "user"
    from pyengine.containers import checking

    return "systemd" if checking.has_systemd() else ""


def prepare(host: Host, container: Container, call: Call, *, restarted: bool) -> str:
    """Give the monitor its orders, before a start.

    Returns:
        the name of this life, by which its exit command tells whether it is still the last one.
    """
    config, id_ = container.config, container.id
    directory = host.persist_dir(id_)
    make_directory(directory)
    if config["supervision"]:
        _remove(_health_log(host, container))
    for name in ("health.startup", "oom", "exit", *(() if restarted else ("restarts", "stopped"))):
        _remove(f"{directory}/{name}")
    life = os.urandom(8).hex()
    _name_life(host, id_, life)
    call.arguments.append(f"--persist-dir={directory}")
    if config["restart_by_monitor"]:
        call.arguments += supervision.policy_arguments(config["restart_policy"])
    if config["supervision"] and config["supervision"]["by"] != "monitor":
        from pyengine.containers import checking

        checking.begin(_health_log(host, container))
    elif config["supervision"]:
        call.arguments += supervision.health_arguments(
            config["supervision"], _health_log(host, container), config["stop_signal"],
            config["stop_timeout_s"],
        )  # fmt: skip
        if host.events.path:
            call.arguments += [
                f"--health-events={host.events.path}", f"--health-event={_event_path(host, id_)}",
            ]  # fmt: skip
            name_events(host, container)
    return life


def _name_life(host: Host, id_: str, life: str) -> None:
    with open(f"{host.persist_dir(id_)}/life", "w", encoding="utf-8") as file:
        file.write(life)


def name_events(host: Host, container: Container) -> None:
    """Tell the monitor what its events of the container's health are to say beside it."""
    if container.config["supervision"].get("by") != "monitor":
        return
    fields = {
        "ID": container.id, "Image": container.image_name, "Name": container.name,
        "Type": "container", "Status": "health_status", "Attributes": container.config["labels"],
    }  # fmt: skip
    path = _event_path(host, container.id)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(jsontext.dumps(fields))
    os.rename(f"{path}.new", path)


def _event_path(host: Host, id_: str) -> str:
    return f"{host.bundle(id_)}/health-event.json"


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _health_log(host: Host, container: Container) -> str:
    directory = container.config["supervision"]["log_directory"]
    if directory:
        return f"{directory}/{container.id}-healthcheck.log"
    return f"{host.persist_dir(container.id)}/health.json"


def remove_log(host: Host, container: Container) -> None:
    """Remove the results that are not among the container's own files."""
    _remove(_health_log(host, container))


def renew(host: Host, container: Container, was: Supervision, *, may_have_restarted: bool) -> None:
    """Let new checks and a new restart policy hold for a container that runs.

    Args:
        host: where.
        container: with the new ones, which are not in the database yet.
        was: its checks before.
        may_have_restarted: whether its exit command knows of restarts.

    Raises:
        ConflictError: its monitor does not take them.
    """
    config = container.config
    if was.get("by") == "systemd":
        from pyengine.containers import checking

        checking.stop_timer(host, container)
    if config["restart_by_monitor"]:
        _give_orders(host, container)
    else:
        _remove(f"{host.persist_dir(container.id)}/stopped")
        if config["supervision"]:
            from pyengine.containers import checking

            make_directory(host.persist_dir(container.id))
            checking.begin(_health_log(host, container))
        if config["may_restart"] and not may_have_restarted:
            log.warning(
                f"restarts of {container.name} hold from its next start on: its monitor"
                f" {config['conmon']} takes no new orders"
            )
    if config["supervision"]:
        begin_checks(host, container)


def _give_orders(host: Host, container: Container) -> None:
    """Hand pyconmon what it would have been started with; of no use where its container ends."""
    id_, bundle = container.id, host.bundle(container.id)
    files = Files(bundle, host.exit_dir, "")
    call = Call(container.config["conmon"], id_, host.runtime(container.config["runtime"]), files)
    call.arguments.clear()
    last_life = life_of(host, id_)
    clean_up = [*host.self_command, "container", "cleanup"]
    if container.config["supervision"] or container.config["may_restart"]:
        clean_up += ["--life", prepare(host, container, call, restarted=False)]
    else:
        call.arguments.append(f"--persist-dir={bundle}")
    call.exit_command([*clean_up, id_])
    pid_fd = exits.open_pidfd(container.pid or 0)
    changes = _Changes(bundle)
    taken, reason = False, "it does not know of such"
    try:
        with open(f"{bundle}/{supervision.ORDERS}", "wb") as file:
            file.write(b"".join(os.fsencode(word) + b"\0" for word in call.arguments))
        supervision.ask(bundle, supervision.TAKE_ORDERS)
        taken = changes.wait_for(f"{supervision.ORDERS}.taken", ORDERS_S, pid_fd)
    except OSError as error:
        reason = f"{error.strerror}: it was killed"
    finally:
        has_ended = pid_fd < 0 or exits.wait_for_end(pid_fd, 0)
        changes.close()
        if pid_fd >= 0:
            os.close(pid_fd)
    if not taken and last_life:
        _name_life(host, id_, last_life)
    if not (taken or has_ended):
        raise ConflictError(
            f"update {container.name}: its monitor does not take new health checks or another"
            f" restart policy: {reason}: stop the container first: container state improper"
        )


# What is known


def health(host: Host, container: Container) -> dict[str, Any] | None:
    """``Status``, ``FailingStreak`` and ``Log`` since the last start; None without checks."""
    if not container.config["supervision"]:
        return None
    try:
        with open(_health_log(host, container), encoding="utf-8") as file:
            found: dict[str, Any] = jsontext.loads(file.read())
    except FileNotFoundError:  # not started yet
        return {"Status": "starting", "FailingStreak": 0, "Log": []}
    return found


def restart_count(host: Host, container: Container) -> int:
    """How often the policy has started it since a user did."""
    return _restarts(host, container.id)[0]


def _restarts(host: Host, id_: str) -> tuple[int, int]:
    """The number of restarts, and the last delay in milliseconds."""
    try:
        with open(f"{host.persist_dir(id_)}/restarts", encoding="utf-8") as file:
            count, delay_ms = file.read().split()
        return int(count), int(delay_ms)
    except (FileNotFoundError, ValueError):
        return 0, 0


def stop_requested(host: Host, id_: str) -> bool:
    """Whether a user has ended it, so that no policy may start it."""
    return os.path.exists(f"{host.persist_dir(id_)}/stopped")


# Health


def check_now(host: Host, container: Container) -> tuple[dict[str, Any], str]:
    """Have the health check run, and wait for its result.

    Returns:
        the state of health, and what is to be done about it by us: none, kill, stop or restart.

    Raises:
        ConflictError: there is no check, or the container does not run.
    """
    if not container.config["supervision"]:
        raise ConflictError(f"container {container.id} has no defined healthcheck")
    if container.status != "running":
        raise ConflictError(f"container {container.id} is not running")
    path = _health_log(host, container)
    if container.config["supervision"]["by"] != "monitor":
        from pyengine.containers import checking

        state, action = checking.run(host, container, path)
        host.tell(container, "health_status", health=state["Status"])
        return state, action
    monitor_fd = exits.open_pidfd(container.monitor_pid or 0)
    changes = _Changes(os.path.dirname(path))
    try:
        supervision.ask(host.bundle(container.id), supervision.CHECK_NOW)
        checks = [container.config["supervision"]["health"]]
        checks += filter(None, [container.config["supervision"].get("startup")])
        limit_s = max(check["timeout_ns"] for check in checks) / 1e9 + RESULT_SLACK_S
        if not changes.wait_for(os.path.basename(path), limit_s, monitor_fd):
            raise ConflictError(
                f"health check of container {container.id}: no result: the container has ended,"
                f" was paused, or took longer than {limit_s:g} s"
            )
    except OSError as error:
        raise ConflictError(
            f"health check of container {container.id}: ask its monitor: {error.strerror}"
        ) from error
    finally:
        changes.close()
        if monitor_fd >= 0:
            os.close(monitor_fd)
    return health(host, container) or {}, "none"


def wait_until_healthy(host: Host, container: Container) -> bool:
    """Wait for a check that passes; false where the container ends before."""
    path = _health_log(host, container)
    try:
        changes = _Changes(os.path.dirname(path))
    except FileNotFoundError:  # it has even been removed
        return False
    monitor_fd = exits.open_pidfd(container.monitor_pid or 0)
    try:
        while (health(host, container) or {}).get("Status") != "healthy":
            if monitor_fd < 0 or exits.wait_for_end(monitor_fd, 0):
                return False
            changes.wait_for(os.path.basename(path), RESULT_SLACK_S, monitor_fd)
        return True
    finally:
        changes.close()
        if monitor_fd >= 0:
            os.close(monitor_fd)


def begin_checks(host: Host, container: Container) -> None:
    """The container runs: whoever checks it besides its monitor begins."""
    if container.config["supervision"]["by"] == "systemd":
        from pyengine.containers import checking

        checking.start_timer(host, container)


def end_checks(host: Host, container: Container) -> None:
    """The container has ended: whoever checks it besides its monitor stops."""
    if container.config["supervision"].get("by") == "systemd":
        from pyengine.containers import checking

        checking.stop_timer(host, container)


class _Changes:
    """Files that are written or renamed in a directory from now on."""

    __slots__ = ("_fd",)

    def __init__(self, directory: str) -> None:
        self._fd = syscalls.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        mask = syscalls.IN_MOVED_TO | syscalls.IN_CLOSE_WRITE
        syscalls.inotify_add_watch(self._fd, directory, mask)

    def wait_for(self, name: str, limit_s: float, until_fd: int = -1) -> bool:
        """Wait for the file; false when time is up or ``until_fd`` has become readable."""
        deadline = time.monotonic() + limit_s
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        if until_fd >= 0:
            poller.register(until_fd, select.POLLIN)
        while (left_s := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(left_s * 1000 + 1))
            if self._fd in ready and name in self._names():
                return True
            if until_fd in ready:
                return False
        return False

    def _names(self) -> set[str]:
        """The names in what the kernel reports (inotify(7), ``struct inotify_event``)."""
        data, at, names = os.read(self._fd, 65536), 0, set()
        while at < len(data):
            size = int.from_bytes(data[at + 12 : at + 16], "little")
            names.add(os.fsdecode(data[at + 16 : at + 16 + size].rstrip(b"\0")))
            at += 16 + size
        return names

    def close(self) -> None:
        os.close(self._fd)


# Restarts


def call_off(host: Host, container: Container) -> None:
    """Leave word that a user wants the container to end: nothing starts it again.

    A monitor that just waits for the next start gives up at once.
    """
    config = container.config
    directory = host.persist_dir(container.id)
    make_directory(directory)
    with open(f"{directory}/stopped", "w", encoding="utf-8"):
        pass
    if not config["restart_by_monitor"] or container.live or not container.monitor_pid:
        return
    monitor_fd = exits.open_pidfd(container.monitor_pid)
    if monitor_fd < 0:
        return
    try:
        # The container has ended, so a signal to its monitor is for the monitor.
        if record.monitor_lives(container):
            _signal.pidfd_send_signal(monitor_fd, _signal.SIGTERM)
    except ProcessLookupError:
        return
    finally:
        os.close(monitor_fd)


def restart_is_due(host: Host, id_: str, life: str, *, asked: bool) -> bool:
    """Whether an exit command, after its clean-up, has to start the container again.

    Args:
        host: where.
        id_: of the container.
        life: what ``prepare`` called the life that has ended.
        asked: the monitor says so; conmon never does.
    """
    container = record.by_id(host, id_)
    if container is None or container.live:
        return False
    if container.config["restart_by_monitor"]:
        return asked and is_last(host, id_, life)
    return _wait_for_restart(host, container) and is_last(host, id_, life)


def is_last(host: Host, id_: str, life: str) -> bool:
    """Whether nobody has started, stopped or removed the container since it ended."""
    return bool(life) and life_of(host, id_) == life and not stop_requested(host, id_)


def life_of(host: Host, id_: str) -> str:
    """The name of the life that ``prepare`` prepared last."""
    try:
        with open(f"{host.persist_dir(id_)}/life", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _wait_for_restart(host: Host, container: Container) -> bool:
    """Do what pyconmon does after a container's end, for a monitor that does not."""
    id_ = container.id
    if not wants_restart(host, container):
        return False
    count, delay_ms = _restarts(host, id_)
    if (container.finished_at or 0) - (container.started_at or 0) >= SETTLED_S:
        delay_ms = 0
    delay_ms = min(2 * delay_ms, LONGEST_DELAY_MS) or FIRST_DELAY_MS
    directory = host.persist_dir(id_)
    changes = _Changes(directory)
    try:
        if stop_requested(host, id_) or changes.wait_for("stopped", delay_ms / 1000):
            return False
    finally:
        changes.close()
    temporary = f"{directory}/restarts.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{count + 1} {delay_ms}\n")
    os.rename(temporary, f"{directory}/restarts")
    return True


def wants_restart(host: Host, container: Container) -> bool:
    """Whether its policy wants a container that has ended to run again."""
    name, _, limit = container.config["restart_policy"].partition(":")
    if stop_requested(host, container.id):
        return False
    if name in ("always", "unless-stopped"):
        return True
    count, _ = _restarts(host, container.id)
    failed = container.exit_code not in (0, None)
    return name == "on-failure" and failed and (not limit or count < int(limit))


def starts_at_boot(host: Host, container: Container) -> bool:
    """Whether ``system boot`` starts it.

    ``always`` runs after each boot, whoever ended it before. One that a monitor of this boot is
    about to start again is left to that.
    """
    if container.live or container.status == "removing":
        return False
    if container.boot_id != host.boot_id and container.config["restart_policy"] == "always":
        return True
    waits = container.boot_id == host.boot_id and record.monitor_lives(container)
    return not waits and wants_restart(host, container)
