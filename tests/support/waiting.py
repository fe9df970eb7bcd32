"""Waiting for what no descriptor tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true result of ``condition``."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.005)
    return result
