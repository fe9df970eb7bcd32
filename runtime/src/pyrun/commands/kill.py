from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal

from pyrun.commands.options import FLAG, Syntax, is_number
from pyrun.commands.settings import wrong
from pyrun.container import lifecycle, store
from pyrun.errors import PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax(
    "kill [options] CONTAINER-ID [SIGNAL]",
    {
        "--all/-a": (FLAG, "send it to every process of the container"),
        "--regex/-r": (FLAG, "CONTAINER-ID is a regular expression: all that it is found in"),
    },
    (1, 2),
)


def signal_number(word: str) -> int:
    """The number of ``15``, ``TERM``, ``sigterm`` or ``RTMIN+3``; 0 only asks whether it runs.

    Raises:
        UsageError: there is no such signal.
    """
    name = word.upper().removeprefix("SIG")
    base, plus, offset = name.partition("+")
    if is_number(name):
        number = int(name)
    elif plus and not is_number(offset):
        number = -1
    else:
        number = int(getattr(_signal, f"SIG{base}", -_signal.NSIG)) + int(offset or 0)
    if not 0 <= number < _signal.NSIG:
        raise wrong(f"there is no signal {word!r}")
    return number


def main(words: list[str], settings: Settings) -> int:
    """``pyrun kill``."""
    options = SYNTAX.parse(words)
    number = signal_number([*options.arguments, "TERM"][1])
    everyone = options.flag("all")
    if options.flag("regex"):
        return _kill_matching(settings, options.arguments[0], number, everyone=everyone)
    entry = store.find(settings.root, options.arguments[0], lock=False)
    lifecycle.kill(entry, number, everyone=everyone)
    return 0


def _kill_matching(settings: Settings, expression: str, number: int, *, everyone: bool) -> int:
    """Each that runs gets the signal; what cannot get it is told, and does not stop the others."""
    from pyrun.container import directories, status
    from pyrun.particular_errors import NoSuchContainerError

    result = 0
    for name in directories.matching(settings.root, expression):
        try:
            entry = store.find(settings.root, name, lock=False)
            if status.of(entry) != "stopped":
                lifecycle.kill(entry, number, everyone=everyone)
        except NoSuchContainerError:  # deleted meanwhile, or left by a killed create
            continue
        except PyrunError as error:
            settings.write("error", str(error))
            result = 1
    return result
