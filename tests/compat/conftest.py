from __future__ import annotations

from pathlib import Path

import pytest

from support.engine import EngineRoot


@pytest.fixture
def engine_root(pyengine_path: str, tmp_path: Path) -> EngineRoot:
    """A storage root that only this test uses."""
    return EngineRoot(pyengine_path, tmp_path)
