"""The command line: finds the command, runs it, and maps what went wrong to an exit status."""

from __future__ import annotations

import importlib
import sys

import click

from pyengine.cli import declare, outcome, root, table
from pyengine.errors import PyengineError
from pyengine.version import VERSION

# Where a context's shared notes hold the name of the command's function.
COMMAND = "pyengine.command"


class LazyGroup(click.Group):
    """A group that imports a command's module when that command is asked for."""

    def __init__(self, *args: object, commands_table: table.Table, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own arguments
        self.commands_table = commands_table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name of the table, sorted."""
        return sorted(self.commands_table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or make the group of this name."""
        if cmd_name not in self.commands_table:
            return None
        place, help_line = self.commands_table[cmd_name]
        if not place:
            return LazyGroup(cmd_name, commands_table=table.GROUPS[cmd_name], help=help_line)
        module, _, attribute = place.partition(":")
        ctx.meta[COMMAND] = attribute
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, declare.Command):
            command = command.to_click()
        assert isinstance(command, click.Command)
        shown = command
        command.get_help = lambda ctx: _help(ctx, shown)  # type: ignore[method-assign]  # of this one
        return command

    @property
    def help_lines(self) -> dict[str, str]:
        """The commands' lines of help, from the table alone."""
        return {name: row[1] for name, row in self.commands_table.items()}

    def get_help(self, ctx: click.Context) -> str:
        """As podman's groups."""
        return _help(ctx, self)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with podman's words for a command that does not exist."""
        if args and args[0] not in self.commands_table and not args[0].startswith("-"):
            path = ctx.command_path
            raise click.ClickException(
                f"unrecognized command `{path} {args[0]}`\nTry '{path} --help' for more information"
            )
        return super().resolve_command(ctx, args)


def _help(ctx: click.Context, command: click.Command) -> str:
    from pyengine.cli import helping

    return helping.text(ctx, command)


def _start(ctx: click.Context, /, log_level: str, **options: object) -> None:
    """Manage pods, containers and images."""
    ctx.obj = root.make_engine(log_level, **options)
    ctx.call_on_close(ctx.obj.close)  # after a failure too


pyengine = click.group(
    "pyengine",
    cls=LazyGroup,
    commands_table=table.COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)(
    click.version_option(VERSION, "-v", "--version", message="%(prog)s version %(version)s")(
        declare.decorate(root.PARAMETERS, click.pass_context(_start))
    )
)


def main(arguments: list[str]) -> int:
    """Run one command and print what went wrong; the answer is the exit status."""
    meta: dict[str, object] = {}
    try:
        with pyengine.make_context("pyengine", arguments) as ctx:
            meta = ctx.meta
            status = pyengine.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        return outcome.fail(error.format_message(), _usage_status(meta), prefix="")
    except click.UsageError as error:
        return outcome.fail(_usage_message(error), _usage_status(meta))
    except click.ClickException as error:
        return outcome.fail(error.format_message(), _usage_status(meta))
    except click.Abort:
        return outcome.INTERRUPTED
    except outcome.EXPECTED as error:
        return outcome.tell(error, str(meta.get(COMMAND, "")), "pyengine")
    return status if isinstance(status, int) else 0


def _usage_status(meta: dict[str, object]) -> int:
    return outcome.exit_status(str(meta.get(COMMAND, "")), PyengineError(""))


def _usage_message(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "pyengine"
    if isinstance(error, click.NoSuchOption):
        problem = f"unknown flag: {error.option_name}"
    else:
        problem = error.format_message()
    return f"{problem}\nSee '{path} --help'"
