"""exec: another process in a running container."""

from __future__ import annotations

from pyengine.cli.declare import UsageError, argument, command, option
from pyengine.cli.many import LATEST
from pyengine.cli.run import env_files, passed_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine


@command(
    option("-d", "--detach", is_flag=True, help="Run in the background, print the session's id."),
    option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable."),
    option("--env-file", multiple=True, metavar="FILE", help="Variables from a file."),
    option("-i", "--interactive", "stdin", is_flag=True, help="Keep stdin open."),
    LATEST,
    option("-t", "--tty", "terminal", is_flag=True, help="Allocate a terminal."),
    option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who the process is."),
    option("-w", "--workdir", default="", metavar="DIR", help="Working directory."),
    argument("words", nargs=-1, metavar="[CONTAINER] COMMAND [ARG]..."),
    name="exec",
    interspersed=False,
)
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
        raise UsageError("exec requires the name or ID of a container or the --latest flag")
    name = engine.containers.latest().id if latest else words[0]
    argv = words if latest else words[1:]
    if not argv:
        raise UsageError("you must provide a command to exec")
    from pyengine.containers.exec import ExecOptions
    from pyengine.monitor.attach import Detached

    session = engine.containers.exec_session(
        name,
        ExecOptions(
            argv,
            terminal=terminal,
            stdin=stdin,
            env=(*env_files(env_file), *passed_on(env)),
            user=user,
            workdir=workdir,
        ),
    )
    if detach:
        print(session.detach())
        return 0
    try:
        return session.attend()
    except Detached:
        return 0
