from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import ContainerRoot
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


@pytest.fixture(scope="module")
def module_root(
    pyengine_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerRoot]:
    """A root for the containers of one module, with the busybox image."""
    root = ContainerRoot(pyengine_path, tmp_path_factory.mktemp("box"))
    root.load_image()
    yield root
    root.remove_everything()
    assert root.settled() == []


@pytest.fixture
def box(module_root: ContainerRoot) -> Iterator[ContainerRoot]:
    """The module's root, without containers at the end of each test."""
    yield module_root
    module_root.remove_everything()
    assert module_root.settled() == []
