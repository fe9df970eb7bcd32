"""logs: what a container wrote."""

from __future__ import annotations

import os

from pyengine.cli.declare import argument, command, option
from pyengine.cli.many import LATEST, names_or_latest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.logs import Line
    from pyengine.engine import Engine


@command(
    option("-f", "--follow", is_flag=True, help="Go on until the container has ended."),
    option("--tail", type=int, default=-1, metavar="N", help="Only the last N lines."),
    option("-t", "--timestamps", is_flag=True, help="Show when each line was written."),
    LATEST,
    argument("container", required=False, default="", metavar="CONTAINER"),
)
def logs(
    engine: Engine, /, container: str, follow: bool, tail: int, timestamps: bool, latest: bool
) -> None:
    """Print the output of a container: its stdout on stdout, its stderr on stderr."""
    name = names_or_latest(engine, (container,) if container else (), latest=latest)[0]
    line_begins = {1: True, 2: True}

    def write(line: Line) -> None:
        fd = 2 if line.stream == "stderr" else 1
        text = line.text if line.partial else line.text + b"\n"
        if timestamps and line_begins[fd]:
            text = line.time.encode() + b" " + text
        line_begins[fd] = not line.partial
        while text:
            text = text[os.write(fd, text) :]

    engine.containers.logs(name, write, tail=None if tail < 0 else tail, follow=follow)
