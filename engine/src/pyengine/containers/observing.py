"""The calls that both faces make to look at containers: output, ends, processes, file systems.

What one of them needs is imported when it is called: most commands need little of it.
"""

from __future__ import annotations

from pyengine.containers import record, stopping
from pyengine.errors import ConflictError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyengine.containers import journal
    from pyengine.containers.committing import CommitOptions
    from pyengine.containers.ends import History
    from pyengine.containers.exec import ExecOptions, Session
    from pyengine.containers.logs import Line
    from pyengine.containers.service import Containers
    from pyengine.images.store import Images
    from pyengine.monitor import exits


class Observing:
    """What can be seen of one engine's containers."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self.host = containers.host

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

        containers = [self._containers.find(name) for name in names]
        for container in containers:
            driver = container.config["log"].get("driver", "k8s-file")
            if driver in ("none", "passthrough"):
                raise ConflictError(
                    f"this container is using the '{driver}' log driver, cannot read logs: this"
                    " container is not logging output"
                )
        followers: list[logs.Follower | journal.Follower] = []
        watches: list[exits.Watch] = []
        try:
            for container in containers:
                source: Any = logs
                place = self.host.log_path(container)
                if container.config["log"].get("driver") == "journald":
                    from pyengine.containers import journal

                    source, place = journal, container.id

                def pass_on(line: Line, container: record.Container = container) -> None:
                    write(container, line)

                if not (follow and container.running):
                    for line in source.read(place, tail, wanted):
                        pass_on(line)
                    continue
                watches.append(stopping.watch(self.host, container))
                followers.append(source.Follower(place, tail, wanted, watches[-1], pass_on))
            logs.follow(followers, until_s)
        finally:
            for follower in followers:
                follower.close()
            for watch in watches:
                watch.close()

    def exec_session(self, name_or_id: str, options: ExecOptions) -> Session:
        """Prepare another process in a running container; the session starts it."""
        from pyengine.containers.exec import Session

        return Session(self.host, self._containers.find(name_or_id), options)

    def end_session(self, id_: str, session: str) -> None:
        """What the exit command of an exec session does."""
        from pyengine.containers.exec import end_session

        end_session(self.host, self._containers.find(id_), session)

    def changes(self, name_or_id: str) -> list[tuple[str, str]]:
        """What a container changed in its image: pairs of A, C or D and a path."""
        from pyengine.containers import differences

        return differences.changes(self.host, self._containers.find(name_or_id))

    def export(self, name_or_id: str) -> Iterator[bytes]:
        """The tar of a container's root file system."""
        from pyengine.containers import file_trees
        from pyengine.storage.packing import pack_tree

        container = self._containers.find(name_or_id)
        yield from pack_tree(
            file_trees.shown(self.host, container), f"export {container.name}",
            id_maps=record.id_maps(container),
        )  # fmt: skip
        self.host.tell(container, "export")

    def commit(
        self,
        images: Images,
        name_or_id: str,
        name: str | None,
        options: CommitOptions,
        report: Callable[[str], None],
    ) -> str:
        """Make an image of a container; the answer is its id."""
        from pyengine.containers.committing import commit

        container = self._containers.find(name_or_id)
        return commit(self.host, images, container, name, options, report)

    def mount(self, name_or_id: str) -> str:
        """Show a container's root file system on the host; the answer is its path."""
        from pyengine.containers import file_trees

        return file_trees.mount(self.host, self._containers.find(name_or_id))

    def unmount(self, name_or_id: str, *, force: bool) -> None:
        """Take away what ``mount`` shows."""
        from pyengine.containers import file_trees

        file_trees.unmount(self.host, self._containers.find(name_or_id), force=force)

    def mounted(self, *, by_user: bool = False) -> list[tuple[record.Container, str]]:
        """The containers whose root file system can be seen on the host, and where."""
        from pyengine.containers import file_trees

        found = [(one, file_trees.mounted_path(self.host, one)) for one in self._containers.every()]
        return [
            (one, path) for one, path in found
            if path and (not by_user or file_trees.is_mounted(self.host, one.id))
        ]  # fmt: skip

    def ends(self, name_or_id: str) -> History:
        """How a container's last lives ended; also of one of the last that were removed."""
        from pyengine.containers import ending, ends

        try:
            id_ = self._containers.find(name_or_id).id
            ending.finish(self.host, id_)  # where nobody else was left to do it
            found = self._containers.find(id_)
        except NotFoundError:
            gone = ends.removed(self.host, name_or_id)
            if gone is None:
                raise
            return gone
        return ends.History(id_, found.name, found.status, ends.history(self.host, id_))

    def attach(
        self, name_or_id: str, *, stdin: bool, proxy_signals: bool, detach_keys: bytes
    ) -> None:
        """Connect to a running container until it has ended.

        Raises:
            ConflictError: it does not run.
            monitor.attach.Detached: the user left; the container goes on.
        """
        from pyengine.monitor.attach import Attachment

        container = self._containers.find(name_or_id)
        config = container.config
        if container.status != "running" or config["log"].get("driver") == "passthrough":
            raise ConflictError("you can only attach to running containers")
        attachment = Attachment(
            self.host.bundle(container.id), stdin=stdin and config["stdin"],
            terminal=config["terminal"], detach_keys=detach_keys,
        )  # fmt: skip
        watch = stopping.watch(self.host, container)
        try:
            attachment.prepare(proxy_signals=proxy_signals)
            self.host.tell(container, "attach")
            attachment.run(
                watch, lambda number: stopping.signal(self.host, container, number, "kill")
            )
        finally:
            attachment.close()
            watch.close()
