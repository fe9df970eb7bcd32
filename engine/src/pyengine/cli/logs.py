"""logs: what containers wrote."""

from __future__ import annotations

import os

from pyengine.cli.declare import UsageError, argument, command, option
from pyengine.cli.many import LATEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyengine.containers.logs import Line
    from pyengine.containers.record import Container
    from pyengine.engine import Engine

SHORT_ID = 12
COLORS = (37, 31, 33, 34, 35, 36, 32)  # of the terminal, a container after the other


@command(
    option("--color", is_flag=True, help="A color for each container."),
    option("-f", "--follow", is_flag=True, help="Go on until the containers have ended."),
    LATEST,
    option("-n", "--names", is_flag=True, help="With several: show names instead of ids."),
    option("--since", metavar="TIME", help="Only lines since this time."),
    option("--tail", type=int, default=-1, metavar="N", help="Only the last N lines."),
    option("-t", "--timestamps", is_flag=True, help="Show when each line was written."),
    option("--until", metavar="TIME", help="Only lines up to this time."),
    argument("containers", nargs=-1, required=False, metavar="CONTAINER..."),
)
def logs(
    engine: Engine,
    /,
    containers: tuple[str, ...],
    color: bool,
    follow: bool,
    latest: bool,
    names: bool,
    since: str | None,
    tail: int,
    timestamps: bool,
    until: str | None,
) -> None:
    """Print the output of containers: their stdout on stdout, their stderr on stderr."""
    if latest and containers:
        raise UsageError("--latest and containers cannot be used together")
    if not latest and not containers:
        raise UsageError("specify at least one container name or ID to log")
    wanted, until_s = _between(since, until)
    found = [engine.containers.latest().id] if latest else list(containers)
    colors: dict[str, int] = {}

    def write(container: Container, line: Line) -> None:
        start = b""
        if len(found) > 1:
            start = f"{container.name if names else container.id[:SHORT_ID]} ".encode()
        if timestamps:
            start += line.time.encode() + b" "
        text = line.text if line.continued else start + line.text
        if color:
            number = COLORS[colors.setdefault(container.id, len(colors)) % len(COLORS)]
            text = b"\033[%dm%b\033[0m" % (number, text)
        if not line.partial:
            text += b"\n"
        fd = 2 if line.stream == "stderr" else 1
        while text:
            text = text[os.write(fd, text) :]

    engine.observing.logs(
        found, write, tail=None if tail < 0 else tail, wanted=wanted, follow=follow, until_s=until_s
    )


def _between(since: str | None, until: str | None
             ) -> tuple[Callable[[Line], bool], float | None]:  # fmt: skip
    """The test that ``--since`` and ``--until`` make, and when to stop following."""
    if since is None and until is None:
        return lambda _: True, None
    from pyengine.cli import times

    first_ns = times.moment_ns("--since", since) if since is not None else 0
    if until is None:
        return lambda line: times.stamp_ns(line.time) >= first_ns, None
    last_ns = times.moment_ns("--until", until, after_now=True)
    return lambda line: first_ns <= times.stamp_ns(line.time) <= last_ns, last_ns / 1e9
