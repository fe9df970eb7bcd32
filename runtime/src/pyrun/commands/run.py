from __future__ import annotations

from pyrun.commands import create
from pyrun.commands.options import FLAG, Syntax
from pyrun.container import foreground, interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax(
    "run [options] CONTAINER-ID",
    {
        **create.OPTIONS,
        "--detach/-d": (FLAG, "do not wait for the container"),
        "--keep": (FLAG, "do not delete the container when it has stopped"),
    },
    (1, 1),
)


def main(words: list[str], settings: Settings) -> int:
    """``pyrun run``: the exit status is the container's."""
    options = SYNTAX.parse(words)
    interpreter.protect()
    request = create.request(options, settings)
    if options.flag("detach"):
        foreground.detach(request)
        create.report(request, settings)
        return 0
    adopt = not options.flag("no-subreaper")
    status, warnings = foreground.run(request, keep=options.flag("keep"), adopt=adopt)
    create.report(request, settings)
    for warning in warnings:
        settings.write("warning", warning)
    return status
