"""exec: another process in a running container."""

from __future__ import annotations

import click

from pyengine.cli.many import latest_option
from pyengine.cli.run import env_files, passed_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine


@click.command(
    "exec", context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]}
)
@click.option("-d", "--detach", is_flag=True, help="Run in the background, print the session's id.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable.")
@click.option("--env-file", multiple=True, metavar="FILE", help="Variables from a file.")
@click.option("-i", "--interactive", "stdin", is_flag=True, help="Keep stdin open.")
@latest_option
@click.option("-t", "--tty", "terminal", is_flag=True, help="Allocate a terminal.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who the process is.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Working directory.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[CONTAINER] COMMAND [ARG]...")
@click.pass_obj
def exec_(
    engine: Engine,
    /,
    detach: bool,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    stdin: bool,
    latest: bool,
    terminal: bool,
    user: str,
    workdir: str,
    words: tuple[str, ...],
) -> int:
    """Run a process in a running container."""
    if not latest and not words:
        raise click.UsageError("exec requires the name or ID of a container or the --latest flag")
    name = engine.containers.latest().id if latest else words[0]
    command = words if latest else words[1:]
    if not command:
        raise click.UsageError("you must provide a command to exec")
    from pyengine.containers.exec import ExecOptions
    from pyengine.monitor.attach import Detached

    session = engine.containers.exec_session(
        name,
        ExecOptions(
            command,
            terminal=terminal,
            stdin=stdin,
            env=(*env_files(env_file), *passed_on(env)),
            user=user,
            workdir=workdir,
        ),
    )
    if detach:
        click.echo(session.detach())
        return 0
    try:
        return session.attend()
    except Detached:
        return 0
