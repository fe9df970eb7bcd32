from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime


@pytest.fixture
def pyrun(pyrun_path: str, tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(pyrun_path, tmp_path / "state") as runtime:
        yield runtime


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    return Bundle(tmp_path / "bundle")
