"""Keeps ``inspect`` out of a start: click wants it for ``cleandoc`` alone (docs/adr/0008).

With ``ast``, ``dis`` and ``tokenize`` behind it, it is a quarter of click's import. What stands in
for it becomes the real module when anything else is asked of it.
"""

from __future__ import annotations

import importlib
import sys


def cleandoc(text: str) -> str:
    """A docstring without its indentation, as ``inspect.cleandoc``."""
    lines = text.expandtabs().split("\n")
    margins = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    margin = min(margins, default=0)
    lines = [lines[0].lstrip(), *(line[margin:] for line in lines[1:])]
    return "\n".join(lines).strip("\n")


def install() -> None:
    """Put the stand-in where ``import inspect`` finds it, unless the real one is there."""
    if "inspect" in sys.modules:
        return
    stand_in = type(sys)("inspect")

    def load(name: str) -> object:
        if sys.modules.get("inspect") is stand_in:
            del sys.modules["inspect"]
        real = importlib.import_module("inspect")
        vars(stand_in).update(vars(real))
        return getattr(real, name)

    vars(stand_in).update(cleandoc=cleandoc, __getattr__=load)
    sys.modules["inspect"] = stand_in
