from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import InLayout, Runtime


@pytest.fixture
def pyrun(pyrun_path: str, tmp_path: Path) -> Iterator[Runtime]:
    with Runtime(pyrun_path, tmp_path / "state") as runtime:
        yield runtime


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    return Bundle(tmp_path / "bundle")


@pytest.fixture(
    params=[
        pytest.param("host"),
        pytest.param("v1", marks=pytest.mark.needs("hybrid")),
        pytest.param("v2", marks=pytest.mark.needs("hybrid", "v2_view")),
    ]
)
def runtime(request: pytest.FixtureRequest, pyrun_path: str, tmp_path: Path) -> Iterator[InLayout]:
    """pyrun in each cgroup layout that this machine can show."""
    made = InLayout(pyrun_path, tmp_path / "state", request.param)
    with made:
        yield made
