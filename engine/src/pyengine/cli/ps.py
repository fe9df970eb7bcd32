"""ps: the list of containers."""

from __future__ import annotations

import time

from pyengine import jsontext
from pyengine.cli import container_rows
from pyengine.cli.declare import Choice, IntRange, UsageError, command, option
from pyengine.cli.many import FILTER
from pyengine.cli.report import is_json, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.record import Container
    from pyengine.engine import Engine

HEADINGS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED",
    "Status": "STATUS", "Ports": "PORTS", "Names": "NAMES",
}  # fmt: skip
POD_HEADINGS = {"Pod": "POD ID", "PodName": "PODNAME"}
SIZE_HEADINGS = {"Size": "SIZE"}
NAMESPACE_HEADINGS = {
    "ID": "CONTAINER ID", "Names": "NAMES", "Pid": "PID",
    **{title: title for _, title, _ in container_rows.NAMESPACES},
}  # fmt: skip
SORTS = ("command", "created", "id", "image", "names", "runningfor", "size", "status")
CLEAR_SCREEN = "\x1b[H\x1b[2J"


@command(
    option("-a", "--all", "every", is_flag=True, help="Also those that do not run."),
    option("--external", is_flag=True, help="Also containers of other programs in the storage."),
    FILTER,
    option(
        "--format", "form", default="table", metavar="FORMAT",
        help="table, json, or a Go template.",
    ),
    option(
        "-n", "--last", type=int, default=-1, metavar="N", help="The N containers created last."
    ),
    option("-l", "--latest", is_flag=True, help="The container that was created last."),
    option("--no-trunc", is_flag=True, help="Print whole ids and commands."),
    option("--noheading", is_flag=True, help="Print no header."),
    option("--ns", "--namespace", "ns", is_flag=True, help="Print the namespaces."),
    option("-p", "--pod", is_flag=True, help="Print the pod that each belongs to."),
    option("-q", "--quiet", is_flag=True, help="Print ids only."),
    option("-s", "--size", is_flag=True, help="Print what each occupies on the disk."),
    option("--sort", type=Choice(SORTS), default="created", show_default=True, help="By what."),
    option("--sync", is_flag=True, help="First ask the runtime about each."),
    option(
        "-w", "--watch", "watch_s", type=IntRange(0), default=0, metavar="SECONDS",
        help="Print again and again.",
    ),
)  # fmt: skip
def ps(engine: Engine, /, watch_s: int, **given: Any) -> None:
    """List containers."""
    given.pop("external")  # no other program writes into this storage
    if given["latest"] and given["last"] >= 0:
        raise UsageError("last and latest are mutually exclusive")
    if given["quiet"] and (given["size"] or given["ns"]):
        raise UsageError("quiet conflicts with size and namespace")
    if given["size"] and given["ns"]:
        raise UsageError("size and namespace options conflict")
    if watch_s and given["latest"]:
        raise UsageError("the watch and latest flags cannot be used together")
    if given["sort"] == "size":
        given["size"] = True
    listing = Listing(engine, **given)
    while True:
        lines = listing.lines()
        if watch_s:
            print(CLEAR_SCREEN, end="")
        for line in lines:
            print(line)
        if not watch_s:
            return
        print(end="", flush=True)
        time.sleep(watch_s)


class Listing:
    """The options of one ps, and what they show."""

    def __init__(
        self,
        engine: Engine,
        *,
        every: bool,
        filters: tuple[str, ...],
        form: str,
        last: int,
        latest: bool,
        no_trunc: bool,
        noheading: bool,
        ns: bool,
        pod: bool,
        quiet: bool,
        size: bool,
        sort: str,
        sync: bool,
    ) -> None:
        self.engine, self.filters, self.form, self.sort = engine, filters, form, sort
        self.last = 1 if latest else last
        self.every = every or any(text.startswith("status=") for text in filters)
        self.no_trunc, self.noheading, self.quiet = no_trunc, noheading, quiet
        self.ns, self.pod, self.size, self.sync = ns, pod, size, sync

    def lines(self) -> list[str]:
        """What is true now."""
        if self.sync:
            self.engine.containers.sync()
        found = self._in_order(self._chosen())
        if self.quiet:
            return [one.id if self.no_trunc else one.id[:12] for one in found]
        if is_json(self.form):
            rows = [
                container_rows.as_json(
                    one,
                    self._health(one),
                    self._size(one),
                    self.engine.containers.restart_count(one),
                    with_namespaces=self.ns,
                )
                for one in found
            ]
            return [jsontext.pretty(rows, 2)]
        headings = NAMESPACE_HEADINGS if self.ns else HEADINGS
        headings = {
            **headings, **(POD_HEADINGS if self.pod else {}), **(SIZE_HEADINGS if self.size else {})
        }  # fmt: skip
        if self.form != "table":
            return self._formatted(found, headings)
        cells = [self._cells(one, headings) for one in found]
        return table(None if self.noheading else list(headings.values()), cells)

    def _chosen(self) -> list[Container]:
        found = self.engine.containers.matching(self.filters)
        if self.last >= 0:
            return found[len(found) - self.last :] if self.last < len(found) else found
        return found if self.every else [one for one in found if one.running]

    def _in_order(self, found: list[Container]) -> list[Container]:
        def key(one: Container) -> Any:
            if self.sort == "command":
                return container_rows.command(one, no_trunc=True)
            if self.sort == "size":
                return container_rows.size(self.engine, one).root_fs
            if self.sort == "status":
                return container_rows.status(one)
            names = {"created": "created_at", "runningfor": "created_at", "image": "image_name"}
            return getattr(one, names.get(self.sort, self.sort.removesuffix("s")))

        return found if self.sort == "created" else sorted(found, key=key)

    def _formatted(self, found: list[Container], headings: dict[str, str]) -> list[str]:
        from pyengine.cli import fields

        rows = [
            container_rows.fields(
                one,
                self._health(one),
                self._size(one),
                self.engine.containers.restart_count(one),
                no_trunc=self.no_trunc,
            )
            for one in found
        ]
        return fields.lines(
            self.form, rows, {**headings, **POD_HEADINGS}, heading=not self.noheading, name="ps"
        )

    def _cells(self, one: Container, headings: dict[str, str]) -> list[str]:
        if self.ns:
            shown = container_rows.fields(one, "", None, no_trunc=self.no_trunc)
            return [str(shown[name]) for name in headings]
        cells = [
            one.id if self.no_trunc else one.id[:12],
            one.image_name,
            container_rows.command(one, no_trunc=self.no_trunc),
            container_rows.created(one),
            container_rows.status(one, self._health(one)),
            "",
            one.name,
        ]
        cells += ["", ""] if self.pod else []
        return [*cells, str(self._size(one))] if self.size else cells

    def _size(self, one: Container) -> container_rows.Size | None:
        return container_rows.size(self.engine, one) if self.size else None

    def _health(self, one: Container) -> str:
        return self.engine.containers.health(one) if one.status == "running" else ""
