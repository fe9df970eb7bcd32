"""ps: the list of containers."""

from __future__ import annotations

import time

from pyengine.cli.declare import command, option
from pyengine.cli.durations import human, rfc3339
from pyengine.cli.report import is_json, table
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.containers.record import Container
    from pyengine.engine import Engine

HEADER = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
COLUMNS = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"]
COMMAND_WIDTH = 17
NEVER_S = -62135596800  # Go's zero time
STATUSES = ("created", "running", "paused", "exited", "removing")


@command(
    option("-a", "--all", "every", is_flag=True, help="Also those that do not run."),
    option(
        "-f",
        "--filter",
        "filters",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only those with this id, label, name or status.",
    ),
    option(
        "--format",
        "form",
        default="table",
        metavar="FORMAT",
        help="table, json, or a Go template.",
    ),
    option("-l", "--latest", is_flag=True, help="The container that was created last."),
    option("--no-trunc", is_flag=True, help="Print whole ids and commands."),
    option("--noheading", is_flag=True, help="Print no header."),
    option("-q", "--quiet", is_flag=True, help="Print ids only."),
)
def ps(
    engine: Engine,
    /,
    every: bool,
    filters: tuple[str, ...],
    form: str,
    latest: bool,
    no_trunc: bool,
    noheading: bool,
    quiet: bool,
) -> None:
    """List containers."""
    tests = [_filter(text) for text in filters]
    found = engine.containers.every()
    if latest:
        found = found[-1:]
    elif not every and not any(text.startswith("status=") for text in filters):
        found = [container for container in found if container.running]
    found = [container for container in found if all(test(container) for test in tests)]
    if quiet:
        for container in found:
            print(container.id if no_trunc else container.id[:12])
    elif is_json(form):
        import json

        print(json.dumps([as_json(container) for container in found], indent=2))
    elif form != "table":
        from pyengine.cli import fields

        shown = [_fields(container, no_trunc=no_trunc) for container in found]
        headings = dict(zip(COLUMNS, HEADER, strict=True))
        for line in fields.lines(form, shown, headings, heading=not noheading, name="ps"):
            print(line)
    else:
        rows = [_row(container, no_trunc=no_trunc) for container in found]
        for line in table(None if noheading else HEADER, rows):
            print(line)


def _filter(text: str) -> Callable[[Container], bool]:
    key, separator, value = text.partition("=")
    if separator and key == "id":
        return lambda container: container.id.startswith(value)
    if separator and key == "name":
        import re

        try:
            pattern = re.compile(value)
        except re.error as error:
            raise ConfigError(f"--filter {text}: not a regular expression: {error}") from error
        return lambda container: bool(pattern.search(container.name))
    if separator and key == "status":
        if value not in STATUSES:
            raise ConfigError(
                f'--filter {text}: "{value}" is not a valid status: one of {", ".join(STATUSES)}'
            )
        return lambda container: container.status == value
    if separator and key == "label":
        name, has_value, wanted = value.partition("=")

        def has_label(container: Container) -> bool:
            labels = container.config["labels"]
            return name in labels and (not has_value or labels[name] == wanted)

        return has_label
    raise ConfigError(f"--filter {text}: invalid filter: use id=, label=, name= or status=")


def status(container: Container) -> str:
    """The STATUS column."""
    now = time.time()
    if container.status == "running":
        return f"Up {human(now - (container.started_at or now))}"
    if container.status == "exited":
        ago = human(now - (container.finished_at or container.created_at))
        return f"Exited ({container.exit_code}) {ago} ago"
    return container.status.capitalize()


def _row(container: Container, *, no_trunc: bool) -> list[str]:
    command = " ".join(container.config["command"] or container.config["entrypoint"])
    if not no_trunc and len(command) > COMMAND_WIDTH:
        command = f"{command[:COMMAND_WIDTH]}..."
    return [
        container.id if no_trunc else container.id[:12],
        container.image_name,
        command,
        f"{human(time.time() - container.created_at)} ago",
        status(container),
        "",
        container.name,
    ]


def _fields(container: Container, *, no_trunc: bool) -> dict[str, Any]:
    """What a template may name: the columns as they are shown, and podman's other fields."""
    shown = dict(zip(COLUMNS, _row(container, no_trunc=no_trunc), strict=True))
    created = rfc3339(container.created_at).replace("T", " ").replace("Z", " +0000 UTC")
    return {
        **as_json(container),
        **shown,
        "State": shown["Status"],
        "Labels": container.config["labels"],
        "CreatedAt": created,
        "CreatedHuman": shown["RunningFor"],
    }


def as_json(container: Container) -> dict[str, Any]:
    """Podman's fields."""
    config = container.config
    ended = container.status == "exited"
    return {
        "AutoRemove": config["auto_remove"],
        "Command": config["command"],
        "CreatedAt": f"{human(time.time() - container.created_at)} ago",
        "Exited": ended,
        "ExitedAt": int(container.finished_at) if ended and container.finished_at else NEVER_S,
        "ExitCode": container.exit_code or 0,
        "Id": container.id,
        "Image": container.image_name,
        "ImageID": container.image_id or "",
        "IsInfra": False,
        "Labels": config["labels"] or None,
        "Mounts": [*(volume["destination"] for volume in config["volumes"]), *config["tmpfs"]],
        "Names": [container.name],
        "Namespaces": {},
        "Networks": [],
        "Pid": container.pid or 0,
        "Pod": "",
        "PodName": "",
        "Ports": None,
        "Size": None,
        "StartedAt": int(container.started_at) if container.started_at else NEVER_S,
        "State": container.status,
        "Status": status(container),
        "Created": int(container.created_at),
    }
