"""The calls that both faces make on containers.

What one of them needs is imported when it is called: most commands need little of it.
"""

from __future__ import annotations

import os

from pyengine import log
from pyengine.containers import record, stopping
from pyengine.errors import ConfigError, ConflictError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Any

    from pyengine.containers.create import Source
    from pyengine.containers.host import Host
    from pyengine.containers.options import ContainerOptions
    from pyengine.containers.start import Started
    from pyengine.database.intents import Intent

MONITOR_END_S = 10.0


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
        self,
        options: ContainerOptions,
        source: Source,
        *,
        stdin: bool,
        proxy_signals: bool,
        detach_keys: bytes = b"",
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
            try:
                self._start_needed(container)
            except BaseException:
                intent.finish()
                raise
            started = start.launch(
                self.host, container, intent, attach=not options.detach, stdin=stdin,
                proxy_signals=proxy_signals, detach_keys=detach_keys,
            )  # fmt: skip
        except BaseException:
            if options.auto_remove:
                from pyengine.containers import ending

                ending.remove_locked(self.host, container)
                gone = True
            raise
        finally:
            locks.release(name, lock_fd, remove=gone)
        return started.notify(self.host)

    def start(
        self,
        name_or_id: str,
        *,
        attach: bool = False,
        stdin: bool = False,
        proxy_signals: bool = False,
        detach_keys: bytes = b"",
        only_create: bool = False,
        needed: bool = False,
    ) -> Started:
        """Start a container that does not run, or with ``only_create`` do all but the last step.

        ``needed`` says by another container.
        """
        from pyengine.containers import ending, start

        container = self.find(name_or_id)
        if not container.live:
            self.call_off_restart(container)
        ending.finish(self.host, container.id)
        self._start_needed(container)
        with self.host.locked(container.id) as lock:
            try:
                container = self.find(container.id)
            except NotFoundError:  # removed meanwhile: our lock file is a new one
                lock.gone = True
                raise
            intent = start.begin(self.host, container, only_create=only_create)
            started = start.launch(
                self.host, container, intent, attach=attach, stdin=stdin,
                proxy_signals=proxy_signals, detach_keys=detach_keys, only_create=only_create,
                needed=needed,
            )  # fmt: skip
        return started.notify(self.host)

    def restart(self, name_or_id: str, timeout_s: int | None) -> None:
        """Stop a container if it runs, and start it."""
        container = self.find(name_or_id)
        self.host.tell(container, "restart")
        if not (container.config["auto_remove"] and container.live):
            self.stop(container.id, timeout_s)
            self.start(container.id)
            return
        from pyengine.containers import ending, start

        # Under the lock, or its monitor's clean-up would remove it in between.
        with self.host.locked(container.id):
            stopping.Stop(self.host, container, timeout_s, "stop", locked=True).complete()
            ending.finish_locked(self.host, container, keep=True)
            self.host.storage.allow_remount(container.id)
            intent = start.begin(self.host, container)
            started = start.launch(self.host, container, intent, attach=False)
        started.notify(self.host)

    def pause(self, name_or_id: str, *, paused: bool) -> None:
        """Freeze a running container, or let a frozen one go on."""
        from pyengine.containers import changes

        changes.pause(self.host, self.find(name_or_id).id, paused=paused)

    def update(self, name_or_id: str, wanted: ContainerOptions, checks: Mapping[str, Any]) -> str:
        """Change what a container is configured to be; the answer is its id.

        ``checks`` are the options of health checks that were given.
        """
        from pyengine.containers import updating

        id_ = self.find(name_or_id).id
        updating.update(self.host, id_, wanted, checks)
        return id_

    def clone(
        self,
        name_or_id: str,
        wanted: ContainerOptions,
        source: Source | None,
        *,
        destroy: bool,
        force: bool,
    ) -> str:
        """Make a container like another one; the answer is its id.

        Args:
            name_or_id: of the original.
            wanted: a name, and limits that replace the original's.
            source: another image; None for the original's.
            destroy: remove the original.
            force: even if it runs.

        Raises:
            ConflictError: the name is taken, or the original runs and is to be destroyed.
        """
        from pyengine.containers.cloning import clone

        original = self.find(name_or_id)
        if destroy and original.running and not force:
            raise ConflictError(
                f"cannot destroy container {original.id} as it is {original.status}: use --force:"
                " container state improper"
            )
        copied = clone(self.host, original, wanted, source, replaces=destroy)
        if destroy:
            self.remove(original.id, force=force)
        return copied.id

    def rename(self, name_or_id: str, name: str) -> None:
        """Give a container another name."""
        from pyengine.containers import changes

        changes.rename(self.host, self.find(name_or_id), name)

    def attend(self, started: Started) -> int:
        """Stay with an attached container to its end, and clean up; the answer is its exit code.

        Raises:
            monitor.attach.Detached: the user left; the container goes on.
        """
        attachment, container = started.attachment, started.container
        assert attachment is not None
        watch = stopping.watch(self.host, container)
        from pyengine.containers import ending, file_trees  # noqa: F401 - while the container runs

        try:
            how = attachment.run(
                watch, lambda number: stopping.signal(self.host, container, number, "kill")
            )
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

    def sync(self) -> None:
        """Ask the runtime about each container that has a process, and believe it."""
        from pyengine.containers import changes, ending

        for container in record.every(self.host):
            if container.running:
                with self.host.locked(container.id) as lock:
                    current = record.by_id(self.host, container.id)
                    lock.gone = current is None
                    if current is not None:
                        changes.settle_pause(self.host, current)
            ending.finish(self.host, container.id)

    def matching(self, filters: Iterable[str]) -> list[record.Container]:
        """Those that fulfil all filters (``filters.MAKERS`` has their names)."""
        from pyengine.containers import filters as known

        return known.matching(self.host, self.every(), filters)

    def prunable(self, filters: Iterable[str]) -> list[str]:
        """The ids of the containers that ``prune`` removes.

        Raises:
            ConfigError: a filter is not one of ``filters.PRUNE_KEYS``.
        """
        from pyengine.containers import filters as known

        wanted = known.make_tests(self.host, filters, known.PRUNE_KEYS)
        idle = [container for container in self.every() if not container.running]
        return [container.id for container in idle if all(test(container) for test in wanted)]

    def prune_one(self, id_: str) -> str | None:
        """Remove one of ``prunable``, unless somebody has started or removed it meanwhile."""
        try:
            return self.remove(id_, force=False)
        except (ConflictError, NotFoundError) as error:
            log.debug(f"prune {id_[:12]}: {error}")
            return None

    def wait(
        self, name_or_id: str, conditions: Collection[str] = (), interval_s: float = 0.25
    ) -> int:
        """Wait until a container has ended; the answer is its exit code.

        With ``conditions``, until it is in one of these states; -1 where it has not ended then.
        """
        if conditions and not set(conditions) <= {"exited", "stopped"}:
            return self.wait_for_first([name_or_id], conditions, interval_s)
        from pyengine.containers.waiting import code_of_end

        return code_of_end(self.host, self.find(name_or_id))

    def wait_for_first(
        self, names: Iterable[str], conditions: Collection[str], interval_s: float
    ) -> int:
        """Wait until one of these containers is in one of these states, and answer as ``wait``."""
        from pyengine.containers.conditions import wait_for
        from pyengine.containers.waiting import answer

        ids = [self.find(name).id for name in names]
        return answer(self.host, *wait_for(self.host, ids, conditions, interval_s))

    def begin_stop(self, name_or_id: str, timeout_s: int | None) -> Callable[[], record.Container]:
        """Ask a container to end; the answer waits, makes it after ``timeout_s``, and cleans up.

        One that does not run is no error. The lock is not held while waiting.

        Raises:
            ConflictError: it is paused, so that it cannot even be asked.
        """
        container = self.find(name_or_id)
        if container.status == "paused":
            raise ConflictError(
                f"container {container.id} is paused, refusing to stop it: unpause it first:"
                " container state improper"
            )
        self.call_off_restart(container)
        stop = stopping.Stop(self.host, container, timeout_s, "stop") if container.live else None

        def complete() -> record.Container:
            if stop is not None:
                from pyengine.containers import ending, file_trees  # noqa: F401 - while it ends

                how = stop.complete()
                if how is not None and how.from_kernel:  # its monitor was killed
                    ending.finish(self.host, container.id, how)
            self.clean_up(container.id)
            if container.config["may_restart"]:
                self._stop_again(container.id, timeout_s)
            return container

        return complete

    def _stop_again(self, id_: str, timeout_s: int | None) -> None:
        """Its policy may have been about to start it again."""
        while True:
            again = record.by_id(self.host, id_)
            if again is None or not record.observe(self.host, again).live:
                return
            stopping.Stop(self.host, again, timeout_s, "stop").complete()
            self.clean_up(id_)

    def stop(self, name_or_id: str, timeout_s: int | None) -> record.Container:
        """Ask a container to end, make it after ``timeout_s``, and clean up."""
        return self.begin_stop(name_or_id, timeout_s)()

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
        if signal_number in (stopping.KILL, container.config["stop_signal"]):
            self.call_off_restart(container)
        stopping.signal(self.host, container, signal_number, "kill")
        if container.status == "paused" and signal_number == stopping.KILL:
            stopping.thaw(self.host, container)
        return container

    def begin_remove(
        self,
        name_or_id: str,
        *,
        force: bool,
        timeout_s: int | None = None,
        volumes: bool = False,
        needed: bool = False,
    ) -> Callable[[], str]:
        """Begin to remove a container; the answer does the rest and returns the id.

        Args:
            name_or_id: of the container.
            force: stop it first if it runs.
            timeout_s: how long ``force`` waits before it kills; the container's own by default.
            volumes: remove its anonymous volumes, too.
            needed: whoever needs it is removed before it.

        Raises:
            ConflictError: it runs, and ``force`` is false; or somebody needs it.
        """
        container = self.find(name_or_id)
        if not needed:
            from pyengine.containers import ending

            ending.refuse_removal(self.host, container.id)
        if force or not container.running:
            self.call_off_restart(container)
        stop = None
        if container.status == "initialized" or (force and container.live):
            stop = stopping.Stop(self.host, container, timeout_s)

        def complete() -> str:
            if stop is not None:
                from pyengine.containers import file_trees  # noqa: F401 - while it ends

                stop.complete()
            while not self._remove_stopped(container.id, force=force, volumes=volumes):
                current = self.find(container.id)  # somebody started it after it was stopped
                if current.live:
                    stopping.Stop(self.host, current, timeout_s).complete()
            return container.id

        return complete

    def remove(
        self,
        name_or_id: str,
        *,
        force: bool,
        timeout_s: int | None = None,
        volumes: bool = False,
    ) -> str:
        """Remove a container, as ``begin_remove``."""
        return self.begin_remove(name_or_id, force=force, timeout_s=timeout_s, volumes=volumes)()

    def with_dependents(self, names: Iterable[str]) -> list[str]:
        """These containers and all that need them, each before those that it needs."""
        from pyengine.containers.dependencies import with_dependents

        return with_dependents(self.host, names)

    def restart_count(self, container: record.Container) -> int:
        """How often its policy has started it since a user did."""
        if not container.config["may_restart"]:
            return 0
        from pyengine.containers import supervising

        return supervising.restart_count(self.host, container)

    def remove_every(self) -> None:
        """Remove all containers, and wait until nothing of them runs that could write a file."""
        from pyengine.monitor import exits

        containers = self.every()
        monitors = [exits.open_pidfd(one.monitor_pid) for one in containers if one.monitor_pid]
        for complete in [
            self.begin_remove(one.id, force=True, timeout_s=0, volumes=True) for one in containers
        ]:
            complete()
        for pidfd in filter(lambda fd: fd >= 0, monitors):
            exits.wait_for_end(pidfd, MONITOR_END_S)
            os.close(pidfd)

    def _remove_stopped(self, id_: str, *, force: bool, volumes: bool) -> bool:
        """One attempt; false where it runs again and is to be stopped again."""
        from pyengine.containers import ending

        with self.host.locked(id_) as lock:
            current = record.by_id(self.host, id_)
            if current is None:  # removed itself (--rm) meanwhile
                lock.gone = True
                return True
            record.observe(self.host, current)
            if current.running and force:
                return False
            if current.running:
                raise ConflictError(
                    f"cannot remove container {id_} as it is {current.status} - running or paused"
                    " containers cannot be removed without force: container state improper"
                )
            ending.remove_locked(self.host, current, volumes=volumes)
            lock.gone = True
        return True

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

        with self.host.locked(id_) as lock:
            container = record.by_id(self.host, id_)
            lock.gone = container is None
            if container is None or container.live:
                return
            if supervising.is_last(self.host, id_, life):
                intent = start.begin(self.host, container)
                start.launch(self.host, container, intent, attach=False, restarted=True)
                self.host.tell(container, "restart")

    def health(self, container: record.Container) -> str:
        """``starting``, ``healthy`` or ``unhealthy``; empty where nothing checks it."""
        if not container.config["supervision"]:
            return ""
        from pyengine.containers import supervising

        found = supervising.health(self.host, container)
        return str(found["Status"]) if found else ""

    def check_health(self, name_or_id: str) -> dict[str, Any]:
        """Run a container's health check now; the answer is its state of health."""
        from pyengine.containers import supervising

        container = self.find(name_or_id)
        state, action = supervising.check_now(self.host, container)
        if action == "kill":
            self.host.runtime(container.config["runtime"]).kill(container.id, stopping.KILL)
        elif action != "none":
            life = supervising.life_of(self.host, container.id)
            stopping.Stop(self.host, container, None, "stop").complete()
            self.clean_up(container.id)
            if action == "restart":  # unless a user has stopped it meanwhile
                self._start_again(container.id, life)
        return state

    def starting_at_boot(self) -> list[record.Container]:
        """Those that ``system boot`` starts."""
        from pyengine.containers import supervising

        every = self.every()
        return [one for one in every if supervising.starts_at_boot(self.host, one)]

    def call_off_restart(self, container: record.Container) -> None:
        """A user wants it to end, so nothing starts it again."""
        if container.config["may_restart"]:
            from pyengine.containers import supervising

            supervising.call_off(self.host, container)

    def recover(self, intent: Intent) -> None:
        """Take back or complete what a killed pyengine began."""
        from pyengine.containers import ending

        ending.recover(self.host, intent)

    def recover_secrets(self, intent: Intent) -> None:
        """Remove a killed pyengine's copies of secrets for a container that it did not make."""
        from pyengine.containers import secret_use

        secret_use.recover(self.host, intent)

    def _start_needed(self, container: record.Container) -> None:
        """Start the containers that this one needs, which in turn starts those that they need."""
        for id_ in container.config["dependencies"]:
            if not self.find(id_).running:
                self.start(id_, needed=True)

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
