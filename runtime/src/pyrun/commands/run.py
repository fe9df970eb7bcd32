from __future__ import annotations

from pyrun.commands import create
from pyrun.commands.options import FLAG, Syntax
from pyrun.container import interpreter, stage

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
    detach = options.flag("detach")
    begun = stage.begin(
        create.request(options, settings),
        start=True,
        foreground=not detach,
        adopt=not detach and not options.flag("no-subreaper"),
    )
    from pyrun.container import foreground  # while the stage loads its half

    status = 0
    warnings: list[str] = []
    try:
        if detach:
            foreground.detach(begun)
        else:
            status, warnings = foreground.run(begun, keep=options.flag("keep"))
    finally:
        create.report(begun.request, settings)
    for warning in warnings:
        settings.write("warning", warning)
    return status
