from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import EngineRoot
from support.registry import SmallRegistry, small_registry


@pytest.fixture
def engine_root(pyengine_path: str, tmp_path: Path) -> EngineRoot:
    """A storage root that only this test uses."""
    return EngineRoot(pyengine_path, tmp_path)


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    """The small registry that misbehaves on request."""
    with small_registry() as server:
        yield server
