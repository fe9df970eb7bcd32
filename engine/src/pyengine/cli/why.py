"""why: how a container ended, and who or what ended it."""

from __future__ import annotations

import time

import click

from pyengine.cli import fields, sizes
from pyengine.cli.durations import human
from pyengine.cli.report import is_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.containers.ends import History
    from pyengine.engine import Engine


@click.command()
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a Go template.")
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@click.option("-l", "--latest", is_flag=True, help="The container that was created last.")
@click.argument("container", required=False)
@click.pass_obj
def why(engine: Engine, /, container: str | None, form: str, as_json: bool, latest: bool) -> None:
    """Say why a container ended; its last twenty ends are kept, and those of the last removed."""
    if bool(container) == latest:
        raise click.UsageError("give one container, or --latest")
    found = engine.observing.ends(container or engine.containers.latest().id)
    if as_json or is_json(form):
        import json

        click.echo(json.dumps([_with_words(found, end) for end in found.ends], indent=2))
    elif form:
        for end in found.ends:
            shown = _with_words(found, end)
            capitals = {key[0].upper() + key[1:]: value for key, value in shown.items()}
            click.echo(fields.render(form, capitals, "why"))
    else:
        _print(found)


def _with_words(container: History, end: dict[str, Any]) -> dict[str, Any]:
    from pyengine.containers import reasons

    return {"id": container.id, "name": container.name, "why": reasons.sentence(end), **end}


def _print(container: History) -> None:
    from pyengine.containers import reasons

    now = time.time()
    if container.is_live:
        click.echo(f"{container.name} has not ended: it is {container.status}.")
    elif not container.ends:
        click.echo(f"{container.name} has never been started.")
    for number, end in enumerate(container.ends):
        ago = _in_words(now - end["finishedAt"]) + " ago"
        if number == 0 and not container.is_live:
            gone = " and was removed" if container.status == "removed" else ""
            click.echo(f"{container.name} {reasons.sentence(end)}, {ago}{gone}.")
            _print_facts(end)
            continue
        if number == (0 if container.is_live else 1):
            click.echo("Before:" if container.is_live else "\nBefore that:")
        click.echo(f"  {ago}: it {reasons.sentence(end)}")


def _print_facts(end: dict[str, Any]) -> None:
    peak = end.get("peakMemoryBytes")
    started = end.get("startedAt")
    rows = [
        ("Exit code", end.get("exitCode")),
        ("Lived for", _in_words(end["finishedAt"] - started) if started else None),
        ("Most memory", sizes.precise(peak) if peak else None),
        ("Restarts", (end.get("restart") or {}).get("count")),
        *(("Asked by", _request(request)) for request in end.get("asked") or []),
    ]
    if end.get("monitor") not in (None, "pyconmon"):
        rows.append(("Known from", f"{end['monitor']}, which records an exit code only"))
    for title, value in rows:
        if value is not None:
            click.echo(f"  {title + ':':<13}{value}")
    lines = end.get("lastOutput") or []
    if lines:
        click.echo("  Last output:")
    for line in lines:
        click.echo(f"    {_harmless(line)}")


def _in_words(seconds: float) -> str:
    text = human(max(seconds, 0.0))
    return text[0].lower() + text[1:]


def _harmless(line: str) -> str:
    """Without what would steer the terminal."""
    return "".join(one if one.isprintable() or one == "\t" else "\ufffd" for one in line)


def _request(request: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(request["time"]))
    return f"{request['command']} (signal {request['signal']}) of user {request['uid']}, {at}"
