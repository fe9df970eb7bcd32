"""The calls that both faces make on containers.

What one of them needs is imported when it is called: most commands need little of it.
"""

from __future__ import annotations

from pyengine import log
from pyengine.containers import record
from pyengine.errors import ConfigError, ConflictError, NotFoundError
from pyengine.monitor import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.containers.create import Source
    from pyengine.containers.exec import ExecOptions, Session
    from pyengine.containers.host import Host
    from pyengine.containers.logs import Line
    from pyengine.containers.options import ContainerOptions
    from pyengine.containers.start import Started
    from pyengine.database.intents import Intent

KILL = 9


class Containers:
    """Containers of one engine."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def create(self, options: ContainerOptions, source: Source) -> record.Container:
        """Make a container without starting it."""
        from pyengine.containers.create import create

        self._replace(options)
        container, _ = create(self.host, options, source)
        return container

    def run(
        self, options: ContainerOptions, source: Source, *, stdin: bool, proxy_signals: bool
    ) -> Started:
        """Make a container and start it, attached unless ``options.detach``.

        Raises:
            PyengineError: it could not be made, or not be started; then it stays, as created,
                unless it is to be removed automatically.
        """
        from pyengine.containers import start
        from pyengine.containers.create import create

        self._replace(options)
        container, intent = create(self.host, options, source, then=record.START_INTENT)
        assert intent is not None
        locks, name = self.host.database.locks, self.host.lock_name(container.id)
        lock_fd = locks.acquire(name, wait=True)
        assert lock_fd is not None
        gone = False
        try:
            return start.launch(
                self.host, container, intent, attach=not options.detach, stdin=stdin,
                proxy_signals=proxy_signals,
            )  # fmt: skip
        except BaseException:
            if options.auto_remove:
                from pyengine.containers import ending

                ending.remove_locked(self.host, container)
                gone = True
            raise
        finally:
            locks.release(name, lock_fd, remove=gone)

    def start(self, name_or_id: str, *, attach: bool, stdin: bool, proxy_signals: bool) -> Started:
        """Start a container that does not run."""
        from pyengine.containers import ending, start

        container = self.find(name_or_id)
        if not container.running:
            self._call_off_restart(container)
        ending.finish(self.host, container.id)
        locks, name = self.host.database.locks, self.host.lock_name(container.id)
        lock_fd = locks.acquire(name, wait=True)
        assert lock_fd is not None
        gone = False
        try:
            try:
                container = self.find(container.id)
            except NotFoundError:  # removed meanwhile: our lock file is a new one
                gone = True
                raise
            intent = start.begin(self.host, container)
            return start.launch(
                self.host, container, intent, attach=attach, stdin=stdin,
                proxy_signals=proxy_signals,
            )  # fmt: skip
        finally:
            locks.release(name, lock_fd, remove=gone)

    def attend(self, started: Started) -> int:
        """Stay with an attached container to its end, and clean up; the answer is its exit code.

        Raises:
            monitor.attach.Detached: the user left; the container goes on.
        """
        attachment, container = started.attachment, started.container
        assert attachment is not None
        watch = self._watch(container)
        from pyengine.containers import ending  # while the container runs

        try:
            how = attachment.run(watch, lambda number: self._signal(container, number, "kill"))
        except BaseException:
            attachment.close()
            started.leave()
            raise
        finally:
            watch.close()
        attachment.close()
        if not container.config["may_restart"]:  # else the exit command goes on from here
            ending.finish(self.host, container.id, how)
        started.leave()
        return record.UNKNOWN_EXIT_CODE if how is None else how.code

    def find(self, name_or_id: str) -> record.Container:
        """A container by its name, id, or beginning of an id."""
        return record.find(self.host, name_or_id)

    def latest(self) -> record.Container:
        """The container created last."""
        return record.latest(self.host)

    def every(self) -> list[record.Container]:
        """All containers as they are now, oldest first; cleans up after killed monitors."""
        abandoned = record.abandoned(self.host)
        if abandoned:
            from pyengine.containers import ending

            ending.settle(self.host, abandoned)
        return record.every(self.host)

    def wait(self, name_or_id: str) -> int:
        """Wait until a container has ended; the answer is its exit code."""
        container = self.find(name_or_id)
        if not container.running:
            return container.exit_code or 0
        ended, how = self._wait(container, None)
        assert ended
        if how is not None:
            return how.code
        kept = record.by_id(self.host, container.id)
        if kept:
            code = kept.exit_code
        else:
            from pyengine.containers import ending

            code = ending.recent_exit_code(self.host, container.id)
        return record.UNKNOWN_EXIT_CODE if code is None else code

    def stop(self, name_or_id: str, timeout_s: int | None) -> record.Container:
        """Ask a container to end, make it after ``timeout_s``, and clean up.

        One that does not run is no error. The lock is not held while waiting.
        """
        container = now = self.find(name_or_id)
        self._call_off_restart(container)
        from pyengine.containers import ending

        while True:
            if now.running:
                self._stop(now, timeout_s, "stop")
            ending.finish(self.host, now.id)
            if not container.config["may_restart"]:
                return container
            # Its monitor may have been about to start it again.
            again = record.by_id(self.host, now.id)
            if again is None or not record.observe(self.host, again).running:
                return container
            now = again

    def logs(
        self,
        names: list[str],
        write: Callable[[record.Container, Line], None],
        *,
        tail: int | None,
        wanted: Callable[[Line], bool],
        follow: bool,
        until_s: float | None = None,
    ) -> None:
        """Pass what containers wrote to ``write``, line by line.

        Args:
            names: names or ids.
            write: called with each line.
            tail: only the last so many lines of what each has.
            wanted: whether to pass a line on.
            follow: go on until all containers have ended.
            until_s: and no longer than until this time.

        Raises:
            NotFoundError: there is no such container, or its log file has gone.
            ConflictError: its log driver keeps nothing that could be read.
        """
        from pyengine.containers import logs

        containers = [self.find(name) for name in names]
        for container in containers:
            driver = container.config["log"].get("driver", "k8s-file")
            if driver in ("none", "passthrough"):
                raise ConflictError(
                    f"this container is using the '{driver}' log driver, cannot read logs: this"
                    " container is not logging output"
                )
        followers: list[logs.Follower] = []
        watches: list[exits.Watch] = []
        try:
            for container in containers:
                path = self.host.log_path(container)

                def pass_on(line: Line, container: record.Container = container) -> None:
                    write(container, line)

                if not (follow and container.running):
                    for line in logs.read(path, tail, wanted):
                        pass_on(line)
                    continue
                watches.append(self._watch(container))
                followers.append(logs.Follower(path, tail, wanted, watches[-1], pass_on))
            logs.follow(followers, until_s)
        finally:
            for follower in followers:
                follower.close()
            for watch in watches:
                watch.close()

    def kill(self, name_or_id: str, signal_number: int) -> record.Container:
        """Send a signal.

        Raises:
            ConflictError: the container does not run.
        """
        container = self.find(name_or_id)
        if not container.running:
            raise ConflictError(
                f"can only kill running containers. {container.id} is in state"
                f" {container.status}: container state improper"
            )
        if signal_number in (KILL, container.config["stop_signal"]):
            self._call_off_restart(container)
        self._signal(container, signal_number, "kill")
        return container

    def remove(
        self,
        name_or_id: str,
        *,
        force: bool,
        timeout_s: int | None = None,
        volumes: bool = False,
    ) -> str:
        """Remove a container; the answer is its id.

        Args:
            name_or_id: of the container.
            force: stop it first if it runs.
            timeout_s: how long ``force`` waits before it kills; the container's own by default.
            volumes: remove its anonymous volumes, too.

        Raises:
            ConflictError: it runs, and ``force`` is false.
        """
        container = self.find(name_or_id)
        if force or not container.running:
            self._call_off_restart(container)
        how = {"force": force, "volumes": volumes}
        while not self._remove_stopped(container, **how, timeout_s=timeout_s):
            container = self.find(container.id)  # somebody started it after it was stopped
        return container.id

    def _remove_stopped(
        self, container: record.Container, *, force: bool, timeout_s: int | None, volumes: bool
    ) -> bool:
        """One attempt; false where it runs again and is to be stopped again."""
        id_ = container.id
        if container.running and force:
            self._stop(container, timeout_s)
        from pyengine.containers import ending

        lock_fd = self.host.database.locks.acquire(self.host.lock_name(id_), wait=True)
        assert lock_fd is not None
        gone = False
        try:
            current = record.by_id(self.host, id_)
            if current is None:  # removed itself (--rm) meanwhile
                gone = True
                return True
            record.observe(self.host, current)
            if current.running and force:
                return False
            if current.running:
                raise ConflictError(
                    f"cannot remove container {id_} as it is running - running or paused"
                    " containers cannot be removed without force: container state improper"
                )
            ending.remove_locked(self.host, current, volumes=volumes)
            gone = True
        finally:
            self.host.database.locks.release(self.host.lock_name(id_), lock_fd, remove=gone)
        return True

    def exec_session(self, name_or_id: str, options: ExecOptions) -> Session:
        """Prepare another process in a running container; the session starts it."""
        from pyengine.containers.exec import Session

        return Session(self.host, self.find(name_or_id), options)

    def inspect(self, container: record.Container, times: tuple[str, str, str]) -> dict[str, Any]:
        """Everything about a container, under podman's names; ``times`` are to be printed."""
        from pyengine.containers.inspect import inspect

        return inspect(self.host, container, times)

    def clean_up(self, id_: str, *, life: str = "", restart: bool = False) -> None:
        """What a monitor's exit command does.

        Args:
            id_: of the container.
            life: the name of the life that has ended, of a container that may have another one.
            restart: the monitor wants it to have another one.
        """
        from pyengine.containers import ending

        ending.finish(self.host, id_)
        if not life:
            return
        from pyengine.containers import supervising

        if supervising.restart_is_due(self.host, id_, life, asked=restart):
            self._start_again(id_, life)

    def _start_again(self, id_: str, life: str) -> None:
        from pyengine.containers import start, supervising

        locks, name = self.host.database.locks, self.host.lock_name(id_)
        lock_fd = locks.acquire(name, wait=True)
        assert lock_fd is not None
        gone = False
        try:
            container = record.by_id(self.host, id_)
            gone = container is None
            if container is None or container.running:
                return
            if supervising.is_last(self.host, id_, life):
                intent = start.begin(self.host, container)
                start.launch(self.host, container, intent, attach=False, restarted=True)
        finally:
            locks.release(name, lock_fd, remove=gone)

    def check_health(self, name_or_id: str) -> dict[str, Any]:
        """Run a container's health check now; the answer is its state of health."""
        from pyengine.containers import supervising

        return supervising.check_now(self.host, self.find(name_or_id))

    def starting_at_boot(self) -> list[record.Container]:
        """Those that ``system boot`` starts."""
        from pyengine.containers import supervising

        every = self.every()
        return [one for one in every if supervising.starts_at_boot(self.host, one)]

    def _call_off_restart(self, container: record.Container) -> None:
        """A user wants it to end, so nothing starts it again."""
        if container.config["may_restart"]:
            from pyengine.containers import supervising

            supervising.call_off(self.host, container)

    def recover(self, intent: Intent) -> None:
        """Take back or complete what a killed pyengine began."""
        from pyengine.containers import ending

        ending.recover(self.host, intent)

    def _signal(self, container: record.Container, signal_number: int, *events: str) -> bool:
        """Send a signal and write its events; false where the container has ended.

        Under the lock, or the clean-up's events could come before ours.
        """
        locks, name = self.host.database.locks, self.host.lock_name(container.id)
        lock_fd = locks.acquire(name, wait=True)
        assert lock_fd is not None
        gone = False
        try:
            gone = record.by_id(self.host, container.id) is None  # then our lock file is a new one
            runtime = self.host.runtime(container.config["runtime"])
            if gone or not runtime.kill(container.id, signal_number):
                return False
            if events:
                self.host.tell(container, *events)
            return True
        finally:
            locks.release(name, lock_fd, remove=gone)

    def _stop(self, container: record.Container, timeout_s: int | None, *events: str) -> None:
        config = container.config
        limit_s = config["stop_timeout_s"] if timeout_s is None else timeout_s
        ended = False
        signalled = False
        if limit_s > 0 and self._signal(container, config["stop_signal"], *events):
            signalled = True
            ended, _ = self._wait(container, float(limit_s))
            if not ended:
                from pyengine.containers.signals import name as signal_name

                name = signal_name(config["stop_signal"])
                log.warning(
                    f"StopSignal {name} failed to stop container {container.name} in {limit_s}"
                    " seconds, resorting to SIGKILL"
                )
        if not ended:
            self._signal(container, KILL, *(() if signalled else events))
            self._wait(container, None)

    def _wait(
        self, container: record.Container, timeout_s: float | None
    ) -> tuple[bool, exits.Exit | None]:
        watch = self._watch(container)
        try:
            return watch.wait(timeout_s)
        finally:
            watch.close()

    def _watch(self, container: record.Container) -> exits.Watch:
        return exits.Watch(
            self.host.exit_path(container.id), self.host.bundle(container.id), container.pid or 0,
            container.monitor_pid or 0,
        )  # fmt: skip

    def _replace(self, options: ContainerOptions) -> None:
        if not options.replace:
            return
        if not options.name:
            raise ConfigError("cannot replace container without --name being set")
        try:
            if self.find(options.name).name == options.name:
                self.remove(options.name, force=True)
        except NotFoundError:
            return
