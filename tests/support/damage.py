"""Asks the engine's own consistency check about a storage root."""

from __future__ import annotations

import json
import subprocess
import sys

from support.engine import EngineRoot

# The check is a function: the command over it is only words.
SCRIPT = """
import json, sys
from pyengine.engine import Engine, Options
from pyengine.images import checking
engine = Engine(Options(root=sys.argv[1], runroot=sys.argv[2]))
max_age_s = 0.0 if "any-age" in sys.argv else checking.DAY_S
found = checking.check(engine.images, quick="quick" in sys.argv, max_age_s=max_age_s)
removed, staying = [], []
if "repair" in sys.argv:
    removed, staying = checking.repair(engine.images, found)
engine.close()
print(json.dumps([[[one.kind, one.object, one.problem, one.images, one.containers]
                   for one in found], removed, [one.object for one in staying]]))
"""


def check(root: EngineRoot, *words: str) -> tuple[dict[str, list[object]], list[str], list[str]]:
    """Findings by object, and with "repair" the removed images and what had to stay."""
    command = [sys.executable, "-c", SCRIPT, str(root.root), str(root.runroot), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found, removed, staying = json.loads(done.stdout)
    return {one[1]: one for one in found}, removed, staying
