from __future__ import annotations

from pyrun.container import lifecycle, store
from pyrun.errors import ContainerError, PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.options import Options
    from pyrun.commands.settings import Settings
    from pyrun.container.store import Entry


def _options(words: list[str]) -> Options:
    from pyrun.commands.options import FLAG, Syntax

    known = {
        "--force/-f": (FLAG, "kill it first; none of that name is no error"),
        "--regex/-r": (FLAG, "CONTAINER-ID is a regular expression: all that it is found in"),
    }
    return Syntax("delete [options] CONTAINER-ID", known, (1, 1)).parse(words)


def main(words: list[str], settings: Settings) -> int:
    """``pyrun delete``."""
    if len(words) == 1 and not words[0].startswith("-"):  # simply an id
        _delete(settings, words[0], force=False)
        return 0
    options = _options(words)
    force = options.flag("force")
    if options.flag("regex"):
        return _delete_matching(settings, options.arguments[0], force=force)
    _delete(settings, options.arguments[0], force=force)
    return 0


def _delete_matching(settings: Settings, expression: str, *, force: bool) -> int:
    """What cannot be deleted is told, and does not stop the others."""
    from pyrun.container import directories

    status = 0
    for name in directories.matching(settings.root, expression):
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
    except ContainerError as error:
        if not force:
            raise
        found = _find_anyway(settings, name, error)
        if found is None:
            return
        entry = found
    for warning in lifecycle.delete(entry, force=force):
        settings.write("warning", warning)


def _find_anyway(settings: Settings, name: str, error: ContainerError) -> Entry | None:
    """With --force a container that is not there is no error, and a damaged one is removed."""
    from pyrun.particular_errors import DamagedStateError, NoSuchContainerError

    if isinstance(error, NoSuchContainerError):
        return None
    if not isinstance(error, DamagedStateError):
        raise error
    settings.write("warning", f"{error}; its processes and its cgroup may be left")
    return store.find(settings.root, name, lock=True, damaged=True)
