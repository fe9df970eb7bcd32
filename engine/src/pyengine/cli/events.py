"""events: what happened to containers, images and volumes, and what happens."""

from __future__ import annotations

import time

import click

from pyengine.cli import fields, times
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.cli.report import is_json
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyengine.engine import Engine

    Event = dict[str, Any]

SHORT_ID = 12
# What a template may name although an event does not have it.
_FIELDS: dict[str, Any] = {
    "ContainerExitCode": 0, "ContainerInspectData": "", "Error": "", "ID": "", "Image": "",
    "Name": "", "Network": "", "HealthStatus": "", "OOMKilled": False, "PodID": "",
}  # fmt: skip


@click.command(cls=GoFlagsCommand)
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="container, image, volume, pod, event, type or label.",
)
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a Go template.")
@click.option("--no-trunc", type=bool, default=True, show_default=True, help="Print whole ids.")
@click.option("--since", metavar="TIME", help="Begin with the events since this time.")
@click.option(
    "--stream",
    type=bool,
    default=True,
    show_default=True,
    help="Go on with new events as they come.",
)
@click.option("--until", metavar="TIME", help="End with this time.")
@click.pass_obj
def events(
    engine: Engine,
    /,
    filters: tuple[str, ...],
    form: str,
    no_trunc: bool,
    since: str | None,
    stream: bool,
    until: str | None,
) -> None:  # fmt: skip
    """Show events of containers, images and volumes."""
    from pyengine.events.filters import matcher

    matches = matcher(filters)
    since_ns = times.moment_ns("--since", since) if since else None
    until_ns = times.moment_ns("--until", until, after_now=True) if until else None
    if not engine.events.path:
        raise ConfigError('events are not kept: the events backend is "none"; use "file"')
    now_ns = time.time_ns()
    if since_ns is None and stream and (until_ns is None or until_ns > now_ns):
        since_ns = now_ns
    for event in _between(engine, since_ns or 0, until_ns, stream=stream):
        if matches(event):
            click.echo(_line(event, form, no_trunc=no_trunc))


def _between(engine: Engine, since_ns: int, until_ns: int | None, *, stream: bool
             ) -> Iterator[Event]:  # fmt: skip
    from pyengine.events.reading import Reader

    until_s = None if until_ns is None else until_ns / 1e9
    reader = Reader(engine.events.path)
    try:
        while True:
            last = not stream or (until_s is not None and time.time() >= until_s)
            for event in reader.new():
                at_ns = times.stamp_ns(str(event.get("Time", "")))
                if at_ns >= since_ns and (until_ns is None or at_ns <= until_ns):
                    yield event
            if last:
                return
            reader.wait(until_s)
    finally:
        reader.close()


def _line(event: Event, form: str, *, no_trunc: bool) -> str:
    if is_json(form):
        import json

        return json.dumps(_with_times(event), separators=(",", ":"), ensure_ascii=False)
    shown = {**_FIELDS, **event, "HealthStatus": event.get("health_status", "")}
    if not no_trunc:
        shown["ID"] = shown["ID"][:SHORT_ID]
    if form:
        shown["TimeNano"] = times.stamp_ns(str(event["Time"]))
        shown["Attributes"] = event.get("Attributes") or {}
        return fields.render(form, {**shown, "Time": _moment(event)}, "events")
    return _sentence(shown)


def _with_times(event: Event) -> Event:
    """As podman 5 prints it: seconds and nanoseconds instead of the time that the file has."""
    shown: Event = {}
    for key, value in event.items():
        if key == "Time":
            at_ns = times.stamp_ns(str(value))
            shown.update(time=at_ns // 1_000_000_000, timeNano=at_ns)
        else:
            shown[key] = value
    return shown


def _sentence(event: Event) -> str:
    """As podman prints each type."""
    start = f"{_moment(event)} {event['Type']} {event['Status']}"
    if event["Type"] in ("container", "pod"):
        facts = {"health_status": event["HealthStatus"]} if event["HealthStatus"] else {}
        facts.update(sorted((event.get("Attributes") or {}).items()))
        labels = "".join(f", {key}={value}" for key, value in facts.items())
        return f"{start} {event['ID']} (image={event['Image']}, name={event['Name']}{labels})"
    if event["Type"] in ("image", "network"):
        return f"{start} {event['ID']} {event['Name']}"
    if event["Type"] == "system":
        return start
    return f"{start} {event['Name']}"


def _moment(event: Event) -> str:
    """A time in our zone, as Go prints it."""
    seconds, nanoseconds = divmod(times.stamp_ns(str(event["Time"])), 1_000_000_000)
    local = time.localtime(seconds)
    fraction = f".{nanoseconds:09}".rstrip("0").rstrip(".")
    return time.strftime(f"%Y-%m-%d %H:%M:%S{fraction} %z %Z", local)
