from __future__ import annotations

import posix

from pyrun import names
from pyrun.commands.options import FLAG, VALUE, Syntax
from pyrun.errors import ContainerError
from pyrun.linux.cgroups import select
from pyrun.spec import jsontext, template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax(
    "spec [options]",
    {
        "--bundle/-b": (VALUE, "directory for config.json (the current one)"),
        "--file/-f": (VALUE, "another name for config.json, or a path"),
        "--rootless": (FLAG, "for a caller without privileges"),
    },
    (0, 0),
)


def main(words: list[str], settings: Settings) -> int:
    """``pyrun spec``: writes config.json, and replaces none."""
    options = SYNTAX.parse(words)
    path = names.join(options.text("bundle", "."), options.text("file", "config.json"))
    settings.write("debug", f"writing {path}")
    config = template.config(unified=select.layout(select.hierarchies()) == "v2")
    if options.flag("rootless"):
        template.make_rootless(config, posix.geteuid(), posix.getegid())
    try:
        fd = posix.open(
            path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o644
        )
        try:
            posix.write(fd, (jsontext.dumps(config, 4) + "\n").encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise ContainerError(f"write {path}: {error.strerror}") from error
    return 0
