from __future__ import annotations

import sys

from pyrun.commands.options import Syntax
from pyrun.container import features
from pyrun.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

SYNTAX = Syntax("features", {}, (0, 0))


def main(words: list[str], _settings: Settings) -> int:
    """``pyrun features``."""
    SYNTAX.parse(words)
    sys.stdout.write(jsontext.dumps(features.features(), 4) + "\n")
    return 0
