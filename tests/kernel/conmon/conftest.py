"""The same tests run with the real conmon and with pyconmon."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.monitors import Container, container


@pytest.fixture(params=["pyconmon", pytest.param("conmon", marks=pytest.mark.needs("conmon"))])
def monitor(request: pytest.FixtureRequest) -> str:
    """The path of a monitor; a test that takes it compares ours with the peer."""
    if request.param == "pyconmon":
        return str(request.getfixturevalue("pyconmon_path"))
    return shutil.which("conmon") or ""


@pytest.fixture
def make(tmp_path: Path, monitor: str) -> Iterator[Callable[..., Container]]:
    """``make(arguments, terminal=False)``: a container under ``monitor`` and runc."""
    with ExitStack() as stack:

        def enter(arguments: list[str], *, terminal: bool = False, name: str = "c") -> Container:
            directory = tmp_path / name
            return stack.enter_context(
                container(monitor, "runc", directory, arguments, terminal=terminal)
            )

        yield enter
