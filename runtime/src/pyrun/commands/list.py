from __future__ import annotations

import sys

from pyrun.commands.options import FLAG, VALUE, Syntax
from pyrun.commands.usage import UsageError
from pyrun.container import directories, status, store
from pyrun.errors import ContainerError
from pyrun.particular_errors import NoSuchContainerError
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings
    from pyrun.spec.types import JsonObject

SYNTAX = Syntax(
    "list [options]",
    {
        "--format/-f": (VALUE, "table or json"),
        "--quiet/-q": (FLAG, "ids only"),
    },
    (0, 0),
)
_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def main(words: list[str], settings: Settings) -> int:
    """``pyrun list``."""
    options = SYNTAX.parse(words)
    form = options.text("format", "table")
    if form not in ("table", "json"):
        raise UsageError(f"--format is table or json, not {form!r}")
    rows = [row for name in directories.identifiers(settings.root) if (row := _row(settings, name))]
    if options.flag("quiet"):
        sys.stdout.write("".join(f"{row['id']}\n" for row in rows))
    elif form == "json":
        sys.stdout.write(jsontext.dumps(rows) + "\n")
    else:
        sys.stdout.write(_table(rows))
    return 0


def _row(settings: Settings, name: str) -> JsonObject | None:
    try:
        entry = store.find(settings.root, name, lock=False)
    except NoSuchContainerError:  # deleted meanwhile, or left by a killed create
        return None
    except ContainerError as error:
        settings.write("warning", str(error))
        return None
    state = status.state_of(entry, status.of(entry))
    extra = {key: entry.state.get(key, "") for key in ("rootfs", "created", "owner")}
    return {**state, **extra}


def _table(rows: list[JsonObject]) -> str:
    lines = [[name.upper() for name in _COLUMNS]]
    lines += [[str(row[name]) for name in _COLUMNS] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    text = ""
    for line in lines:
        text += "   ".join(word.ljust(width) for word, width in zip(line, widths, strict=True))
        text = text.rstrip() + "\n"
    return text
