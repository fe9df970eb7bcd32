"""unshare: a command inside the user namespace in which an ordinary user's images live."""

from __future__ import annotations

import os

import click

from pyengine.config import user
from pyengine.errors import CommandNotExecutableError, CommandNotFoundError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--rootless-netns", is_flag=True,
              help="Not supported: there is no shared network namespace to join.")  # fmt: skip
@click.argument("words", metavar="[COMMAND [ARG...]]", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def unshare(engine: Engine, /, words: tuple[str, ...], rootless_netns: bool) -> None:
    """Run a command, or a shell, as root of the user namespace that holds the images."""
    if not user.is_rootless():
        raise ConfigError("please use unshare with rootless")
    if rootless_netns:
        raise ConfigError(
            "unshare --rootless-netns: containers of an ordinary user share no network namespace "
            "here; enter a container's with `exec`"
        )
    engine.enter_namespace()
    command = list(words) or [os.environ.get("SHELL") or "/bin/sh"]
    environment = {name: value for name, value in os.environ.items() if name != user.ENTERED}
    environment["CONTAINERS_GRAPHROOT"] = engine.root
    environment["CONTAINERS_RUNROOT"] = engine.runroot
    try:
        os.execvpe(command[0], command, environment)
    except FileNotFoundError as error:
        raise CommandNotFoundError(f"unshare: {command[0]}: {error.strerror}") from error
    except OSError as error:
        raise CommandNotExecutableError(f"unshare: {command[0]}: {error.strerror}") from error
