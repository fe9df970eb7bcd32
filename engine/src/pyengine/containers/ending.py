"""After a container's end: record it, unmount, remove; and what dead processes left half done."""

from __future__ import annotations

import time

from pyengine import log
from pyengine.containers import ends, record, remains, runfiles
from pyengine.errors import ConflictError, PyengineError
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from pyengine.containers.host import Host
    from pyengine.database.intents import Intent
    from pyengine.monitor.exits import Exit

REMOVE_INTENT = "container-remove"
EXIT_CODE_KEPT_S = 300  # for a `wait` that comes after a --rm container has gone, as podman


def finish(host: Host, id_: str, how: Exit | None = None, *, wait: bool = True) -> None:
    """Clean up after a container that has ended, and remove it if it was run with ``--rm``.

    Does nothing where it still runs, was cleaned up already, or is gone.

    Args:
        host: where.
        id_: of the container.
        how: the caller's knowledge of the end; without it the exit file is read.
        wait: for somebody who just works on the container; otherwise it is left to them.
    """
    lock_fd = host.database.locks.acquire(host.lock_name(id_), wait=wait)
    if lock_fd is None:
        return
    gone = False
    try:
        container = record.by_id(host, id_)
        gone = container is None
        if container is not None and container.live:
            gone = finish_locked(host, container, how)
        if gone:
            runfiles.clear(host, id_)
    finally:
        host.database.locks.release(host.lock_name(id_), lock_fd, remove=gone)


def finish_locked(
    host: Host, container: record.Container, how: Exit | None = None, *, keep: bool = False
) -> bool:
    """As ``finish``, under the lock; true when the container was removed altogether.

    ``keep`` keeps it in spite of ``--rm``.
    """
    record.observe(host, container)
    if container.status != "exited":
        return False
    if how is not None:
        container.exit_code, container.finished_at, container.error = how.code, how.finished_at, ""
    if container.config["auto_remove"] and not keep and not dependents(host, container.id):
        remove_locked(host, container)
        return True
    release(host, container)
    end = ends.collect(host, container)
    with host.database.write() as connection:
        ends.keep(connection, container.id, end)
        record.update(
            connection, container, status="exited", pid=None, monitor_pid=None,
            exit_code=container.exit_code, oom_killed=container.oom_killed, error=container.error,
            finished_at=container.finished_at or time.time(),
        )  # fmt: skip
    host.tell(container, "died", "cleanup", exit_code=container.exit_code)
    runfiles.clear(host, container.id)
    return False


def refuse_removal(host: Host, id_: str) -> None:
    """Raise ConflictError where another container needs this one."""
    with host.database.read() as connection:
        _check_dependents(connection, id_)


def _check_dependents(connection: Connection, id_: str) -> None:
    others = _dependents(connection, id_)
    if others:
        raise ConflictError(
            f"container {id_} has dependent containers which must be removed before it:"
            f" {', '.join(others)}: container already exists"
        )


def dependents(host: Host, id_: str) -> list[str]:
    """The ids of the containers that need this one."""
    with host.database.read() as connection:
        return _dependents(connection, id_)


def _dependents(connection: Connection, id_: str) -> list[str]:
    """Who needs a container."""
    rows = connection.execute(
        "SELECT container_id FROM container_dependencies WHERE needs = ?", (id_,)
    ).fetchall()
    return [row[0] for row in rows]


def release(
    host: Host, container: record.Container, then: Callable[[str], None] | None = None
) -> None:
    """Let the runtime forget the container, and unmount its root file system.

    ``then`` is called with the id when it is unmounted, beside the runtime's own work.
    """
    if container.config["supervision"]:
        from pyengine.containers import supervising

        supervising.end_checks(host, container)
    finish_delete = _begin_delete(host, container)
    try:
        from pyengine.containers import file_trees

        if then is not None or not file_trees.is_mounted(host, container.id):
            host.storage.unmount(container.id)
        if then is not None:
            then(container.id)
    finally:
        finish_delete()
    remains.end_processes(host, container)
    if container.config["volumes"] or container.config["mounts"]:
        from pyengine.containers import mount_sources

        mount_sources.give_back(host, container)


def _begin_delete(host: Host, container: record.Container) -> Callable[[], None]:
    """What the runtime cannot do is told, and keeps nobody from removing the container."""

    def warn(error: PyengineError) -> None:
        log.warning(f"container {container.id[:12]}: {error}")

    try:
        finish = host.runtime(container.config["runtime"]).begin_delete(container.id)
    except PyengineError as error:
        warn(error)
        return lambda: None

    def finish_and_warn() -> None:
        try:
            finish()
        except PyengineError as error:
            warn(error)

    return finish_and_warn


def remove_locked(host: Host, container: record.Container, *, volumes: bool = False) -> None:
    """Remove a container that does not run, under its lock, in steps that can be repeated.

    ``volumes`` stands for its anonymous ones; those of ``--rm`` go in any case.
    """
    data: dict[str, list[str]] = {}
    with host.database.write(frees_space=True) as connection:
        _check_dependents(connection, container.id)
        connection.execute(
            "UPDATE containers SET status = 'removing', pid = NULL WHERE id = ?", (container.id,)
        )
        if container.config["volumes"] and (volumes or container.config["auto_remove"]):
            from pyengine.volumes import model

            data["volumes"] = model.release_anonymous(connection, container.id)
        intent = host.database.intents.begin(REMOVE_INTENT, container.id, data, connection)
    _remove(host, container, intent)


def _remove(host: Host, container: record.Container, intent: Intent) -> None:
    statuses = ["remove"]
    end = None
    if container.monitor_pid is not None:  # it was not cleaned up since its last start
        statuses = ["died", *([] if container.config["auto_remove"] else ["cleanup"]), "remove"]
        end = ends.collect(host, container, brief=not container.exit_code)
        release(host, container, host.storage.remove)
    else:
        host.storage.remove(container.id)
    if container.config["mounts"].get("secrets"):
        from pyengine.containers import secret_use

        secret_use.remove(host, container.id)
    for name in intent.data.get("volumes", ()):  # nobody can use their random names again
        with host.database.locks.hold(f"volume-{name}", remove=True):
            trees.remove_tree(f"{host.root}/volumes/{name}")
        host.events.tell("volume", "remove", name=name)
    runfiles.clear(host, container.id)
    runfiles.remove_cidfile(container.config["cidfile"])
    if container.config["supervision"]:
        from pyengine.containers import supervising

        supervising.remove_log(host, container)
    now = time.time()
    with host.database.write(frees_space=True) as connection:
        ends.keep_removed(connection, container, end)
        connection.execute("DELETE FROM containers WHERE id = ?", (container.id,))
        connection.execute("DELETE FROM exit_codes WHERE at < ?", (now - EXIT_CODE_KEPT_S,))
        if container.exit_code is not None:
            connection.execute(
                "INSERT OR REPLACE INTO exit_codes VALUES (?, ?, ?)",
                (container.id, container.exit_code, now),
            )
        intent.finish(connection)
    host.tell(container, *statuses, exit_code=container.exit_code)


def recent_exit_code(host: Host, id_: str) -> int | None:
    """The exit code of a container that was removed a short while ago."""
    with host.database.read() as connection:
        row = connection.execute(
            "SELECT code FROM exit_codes WHERE container_id = ?", (id_,)
        ).fetchone()
    return row[0] if row else None


def recover(host: Host, intent: Intent) -> None:
    """Take back a start, or end a removal, whose process was killed; ``intent`` is left open."""
    name = host.lock_name(intent.object)
    lock_fd = host.database.locks.acquire(name, wait=True)
    assert lock_fd is not None
    gone = True
    try:
        container = record.by_id(host, intent.object)
        if container is not None and intent.kind == record.START_INTENT:
            if container.running:  # taken back by somebody who was killed too, and started since
                gone = False
                return
            from pyengine.containers.start import take_back

            remove = container.config["auto_remove"]
            take_back(host, container, "pyengine was killed while it started it", None)
            if remove:
                remove_locked(host, container)
            gone = remove
        elif container is not None and intent.kind == record.PAUSE_INTENT:
            from pyengine.containers.changes import settle_pause

            settle_pause(host, container)
            gone = False
        elif container is not None:
            _remove(host, container, intent)
        else:
            runfiles.clear(host, intent.object)
    finally:
        host.database.locks.release(name, lock_fd, remove=gone)


def settle(host: Host, abandoned: list[record.Container]) -> None:
    """Clean up after containers whose monitor was killed, so that nobody else will."""
    for container in abandoned:
        try:
            finish(host, container.id, wait=False)  # who only looks does not wait
        except (PyengineError, OSError) as error:
            log.warning(f"clean up {container.id[:12]}: {error}")
