"""``--help`` in podman's form: what a command is for, its usage, examples, and options."""

from __future__ import annotations

import textwrap

import click

from pyengine.cli import examples

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 100
PROGRAM = "pyengine"


def text(ctx: click.Context, command: click.Command) -> str:
    """The whole help of one command or group."""
    description = command.help or ""
    short = description.partition("\n\n")[0].replace("\n", " ").rstrip(".")
    known = examples.of(ctx.command_path)
    parts = [short, _section("Description", _wrapped(description)), _usage(ctx, command)]
    if known:
        parts.append(_section("Examples", [f"{PROGRAM} {line}" for line in known]))
    if isinstance(command, click.Group):
        parts.append(_commands(ctx, command))
    parts.append(_options(ctx, command))
    return "\n\n".join(filter(None, parts))


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}".rstrip() for line in lines)])


def _wrapped(description: str) -> list[str]:
    lines: list[str] = []
    for paragraph in description.split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.split()), WIDTH - 2), ""]
    return lines[:-1]


def _usage(ctx: click.Context, command: click.Command) -> str:
    words = [ctx.command_path, "[options]"]
    if isinstance(command, click.Group):
        words.append("[command]")
    words += [one.make_metavar(ctx) for one in command.params if isinstance(one, click.Argument)]
    return _section("Usage", [" ".join(words)])


def _commands(ctx: click.Context, group: click.Group) -> str:
    names = [name for name in group.list_commands(ctx) if not name.startswith("_")]
    rows: dict[str, str] | None = getattr(group, "help_lines", None)
    if rows is None:
        members = ((name, group.get_command(ctx, name)) for name in names)
        rows = {name: one.get_short_help_str(WIDTH) for name, one in members if one}
    width = max(map(len, names)) + 2
    return _section("Available Commands", [f"{name:<{width}}{rows[name]}" for name in names])


def _options(ctx: click.Context, command: click.Command) -> str:
    rows = []
    for option in command.get_params(ctx):
        record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
        if record is not None:
            names, what = record
            rows.append(
                (names if names.startswith("-") and names[1] != "-" else f"    {names}", what)
            )
    width = min(max((len(names) for names, _ in rows), default=0), 40) + 2
    lines = []
    for names, what in rows:
        wrapped = textwrap.wrap(what, WIDTH - width - 2) or [""]
        if len(names) + 2 > width:
            lines.append(names)
            names = ""
        lines.append(f"{names:<{width}}{wrapped[0]}")
        lines += [" " * width + line for line in wrapped[1:]]
    return _section("Options", lines)
