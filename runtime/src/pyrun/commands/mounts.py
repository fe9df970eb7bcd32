from __future__ import annotations

from pyrun.commands.options import Syntax
from pyrun.commands.usage import UsageError
from pyrun.container import late_mounts, store
from pyrun.spec import load, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax("mounts add|remove CONTAINER-ID FILE", {}, (3, 3))
_ACTIONS = {"add": late_mounts.add, "remove": late_mounts.remove}


def main(words: list[str], settings: Settings) -> int:
    """``pyrun mounts``: FILE holds ``mounts`` of config.json, an array."""
    options = SYNTAX.parse(words)
    action, name, path = options.arguments
    if action not in _ACTIONS:
        raise UsageError(f"mounts is for add or remove, not {action!r}")
    wanted = load.read_array(path, "mounts")
    entry = store.find(settings.root, name, lock=True)
    findings = validate.check_mounts(wanted, entry.config())
    if findings:
        raise validate.error_of(findings)
    _ACTIONS[action](entry, wanted)
    return 0
