from __future__ import annotations

from pyrun.commands.options import FLAG, Syntax
from pyrun.container import lifecycle, store
from pyrun.errors import DamagedStateError, NoSuchContainerError, PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings
    from pyrun.container.store import Entry

SYNTAX = Syntax(
    "delete [options] CONTAINER-ID",
    {
        "--force/-f": (FLAG, "kill it first; none of that name is no error"),
        "--regex/-r": (FLAG, "CONTAINER-ID is a regular expression: all that it is found in"),
    },
    (1, 1),
)


def main(words: list[str], settings: Settings) -> int:
    """``pyrun delete``."""
    options = SYNTAX.parse(words)
    force = options.flag("force")
    if options.flag("regex"):
        return _delete_matching(settings, options.arguments[0], force=force)
    _delete(settings, options.arguments[0], force=force)
    return 0


def _delete_matching(settings: Settings, expression: str, *, force: bool) -> int:
    """What cannot be deleted is told, and does not stop the others."""
    status = 0
    for name in store.matching(settings.root, expression):
        try:
            _delete(settings, name, force=force)
        except PyrunError as error:
            settings.write("error", str(error))
            status = 1
    return status


def _delete(settings: Settings, name: str, *, force: bool) -> None:
    def interrupt(entry: Entry) -> None:
        lifecycle.interrupt(entry, force=force)

    store.check_id(name)
    try:
        entry = store.find(settings.root, name, lock=True, busy=interrupt)
    except NoSuchContainerError:
        if force:
            return
        raise
    except DamagedStateError as error:
        if not force:
            raise
        settings.write("warning", f"{error}; its processes and its cgroup may be left")
        entry = store.find(settings.root, name, lock=True, damaged=True)
    for warning in lifecycle.delete(entry, force=force):
        settings.write("warning", warning)
