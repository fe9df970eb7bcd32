"""The command line: finds the command, runs it, and maps what went wrong to an exit status."""

from __future__ import annotations

import importlib
import os
import sys

import click

from pyengine import errors, log
from pyengine.cli import table
from pyengine.engine import Engine, Options
from pyengine.version import VERSION

# podman's exit statuses. A command's own line wins over the class's line; everything else is 125.
EXIT_STATUS: dict[tuple[str, type[errors.PyengineError]], int] = {
    ("", errors.CommandNotFoundError): 127,
    ("", errors.CommandNotExecutableError): 126,
    ("exec_", errors.ConflictError): 255,
    ("rm", errors.NotFoundError): 1,
    ("rm", errors.ConflictError): 2,
    ("rmi", errors.NotFoundError): 1,
    ("rmi", errors.InUseError): 2,
}
ENGINE_FAILURE = 125
INTERRUPTED = 130
BROKEN_PIPE = 141

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
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone."""
        rows = [(name, self.commands_table[name][1]) for name in self.list_commands(ctx)]
        with formatter.section("Available Commands"):
            formatter.write_dl(rows)

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


@click.group(
    cls=LazyGroup,
    commands_table=table.COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(VERSION, "-v", "--version", message="%(prog)s version %(version)s")
@click.option("--root", metavar="DIR", help="Directory of images, containers and the database.")
@click.option("--runroot", metavar="DIR", help="Directory of what a reboot may forget.")
@click.option("--runtime", metavar="NAME", help="Path or name of the OCI runtime.")
@click.option("--runtime-flag", multiple=True, metavar="FLAG", help="Option for the OCI runtime.")
@click.option("--conmon", metavar="PATH", help="Path of the container monitor.")
@click.option(
    "--cgroup-manager", type=click.Choice(["cgroupfs", "systemd"]), help="Who makes cgroups."
)
@click.option(
    "--log-level",
    type=click.Choice(list(log.LEVELS), case_sensitive=False),
    default="warn",
    help="Print messages of this level and above.",
)
@click.option(
    "--storage-driver", type=click.Choice(["overlay", "vfs"]), help="How layers are stacked."
)
@click.pass_context
def pyengine(ctx: click.Context, /, log_level: str, **options: object) -> None:
    """Manage pods, containers and images."""
    log.set_level(log_level)
    ctx.obj = Engine(Options(**options))  # type: ignore[arg-type]  # click made the types
    ctx.call_on_close(ctx.obj.close)  # after a failure too


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
        return _fail(error.format_message(), ENGINE_FAILURE, prefix="")
    except click.UsageError as error:
        return _fail(_usage_message(error), ENGINE_FAILURE)
    except click.ClickException as error:
        return _fail(error.format_message(), ENGINE_FAILURE)
    except errors.PyengineError as error:
        return _fail(str(error), exit_status(str(meta.get(COMMAND, "")), error))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the last flush complains again
        return BROKEN_PIPE
    except OSError as error:
        return _fail(_os_message(error), ENGINE_FAILURE)
    return status if isinstance(status, int) else 0


def exit_status(command: str, error: errors.PyengineError) -> int:
    """The exit status of ``error`` raised by the command of this name."""
    for name in (command, ""):
        for cls in type(error).__mro__:
            if (name, cls) in EXIT_STATUS:
                return EXIT_STATUS[name, cls]
    return ENGINE_FAILURE


def _usage_message(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "pyengine"
    if isinstance(error, click.NoSuchOption):
        problem = f"unknown flag: {error.option_name}"
    else:
        problem = error.format_message()
    return f"{problem}\nSee '{path} --help'"


def _os_message(error: OSError) -> str:
    where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}"


def _fail(message: str, status: int, prefix: str = "Error: ") -> int:
    try:
        sys.stdout.flush()
    except OSError:
        status = status or BROKEN_PIPE
    print(f"{prefix}{message}", file=sys.stderr)
    return status
