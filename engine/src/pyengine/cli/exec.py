"""exec and attach: another process in a running container, and its own."""

from __future__ import annotations

from pyengine.cli.declare import IntRange, UsageError, argument, command, option
from pyengine.cli.many import DETACH_KEYS, LATEST
from pyengine.cli.run import env_files, passed_on
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine


@command(
    option("--cidfile", default="", metavar="FILE", help="Read the container's id from FILE."),
    option("-d", "--detach", is_flag=True, help="Run in the background, print the session's id."),
    DETACH_KEYS,
    option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable."),
    option("--env-file", multiple=True, metavar="FILE", help="Variables from a file."),
    option("-i", "--interactive", "stdin", is_flag=True, help="Keep stdin open."),
    LATEST,
    option(
        "--no-session", is_flag=True, help="Says what is so: a session has no row in a database.",
    ),
    option(
        "--preserve-fds", type=IntRange(0), default=0, metavar="N",
        help="Pass our descriptors 3 to N+2 on.",
    ),
    option(
        "--preserve-fd", multiple=True, metavar="FD[,FD...]",
        help="Pass on these descriptors; others below the highest are /dev/null.",
    ),
    option("--privileged", is_flag=True, help="Give all capabilities."),
    option("-t", "--tty", "terminal", is_flag=True, help="Allocate a terminal."),
    option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who the process is."),
    option("-w", "--workdir", default="", metavar="DIR", help="Working directory."),
    argument("words", nargs=-1, metavar="[CONTAINER] COMMAND [ARG]..."),
    name="exec",
    interspersed=False,
)  # fmt: skip
def exec_(
    engine: Engine,
    /,
    cidfile: str,
    detach: bool,
    detach_keys: str | None,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    stdin: bool,
    latest: bool,
    no_session: bool,  # noqa: ARG001 - its help says why
    preserve_fd: tuple[str, ...],
    preserve_fds: int,
    privileged: bool,
    terminal: bool,
    user: str,
    workdir: str,
    words: tuple[str, ...],
) -> int:
    """Run a process in a running container."""
    unwanted_fds: list[int] = []
    if preserve_fds or preserve_fd:
        from pyengine.containers.configuring.process import descriptors

        listed = [word for text in preserve_fd for word in text.split(",") if word]
        preserve_fds, unwanted_fds = descriptors(preserve_fds, listed, detach=detach)
    if latest and cidfile:
        raise UsageError("--latest and --cidfile can not be used together")
    if not latest and not cidfile and not words:
        raise UsageError("exec requires the name or ID of a container or the --latest flag")
    if latest or cidfile:
        name = engine.containers.latest().id if latest else _id_in(cidfile)
        argv = words
    else:
        name, argv = words[0], words[1:]
    if not argv:
        raise UsageError("must provide a non-empty command to start an exec session")
    from pyengine.containers.exec import ExecOptions
    from pyengine.monitor.attach import Detached

    session = engine.observing.exec_session(
        name,
        ExecOptions(
            argv,
            terminal=terminal,
            stdin=stdin,
            env=(*env_files(env_file), *passed_on(env)),
            user=user,
            workdir=workdir,
            privileged=privileged,
            preserve_fds=preserve_fds,
            unwanted_fds=unwanted_fds,
            detach_keys=engine.detach_keys(detach_keys),
        ),
    )
    if detach:
        print(session.detach())
        return 0
    try:
        return session.attend()
    except Detached:
        return 0


def _id_in(cidfile: str) -> str:
    try:
        with open(cidfile, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError as error:
        raise ConfigError(f"reading CIDFile: open {cidfile}: {error.strerror}") from error


@command(
    DETACH_KEYS,
    LATEST,
    option("--no-stdin", is_flag=True, help="Do not connect stdin."),
    option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on."),
    argument("container", required=False, default="", metavar="CONTAINER"),
)
def attach(
    engine: Engine,
    /,
    container: str,
    detach_keys: str | None,
    latest: bool,
    no_stdin: bool,
    sig_proxy: bool,
) -> None:
    """Connect to a running container."""
    if latest and container:
        raise UsageError("--latest and containers cannot be used together")
    if not latest and not container:
        raise UsageError('"pyengine attach" requires a name, id, or the "--latest" flag')
    from pyengine.monitor.attach import Detached

    keys = engine.detach_keys(detach_keys)
    name = engine.containers.latest().id if latest else container
    try:
        engine.observing.attach(name, stdin=not no_stdin, proxy_signals=sig_proxy, detach_keys=keys)
    except Detached:
        return
