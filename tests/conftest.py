"""Fixtures and options that every test may use.

``--programs installed`` (the default) tests what ``tools/setup`` installed beside this Python;
``--must-run`` turns the skip of a need into a failure, so that CI cannot lose tests silently.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support import machine

BIN = Path(sys.executable).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--must-run",
        default="",
        metavar="NEED,...",
        help="needs whose absence fails a test instead of skipping it; 'all' for every one",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    must_run = set(filter(None, config.getoption("--must-run").split(",")))
    for item in items:
        for mark in item.iter_markers("needs"):
            for need in mark.args:
                reason = machine.missing(need)
                if reason and not (must_run & {need, "all"}):
                    item.add_marker(pytest.mark.skip(reason=f"needs {need}: {reason}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            reason = machine.missing(need)
            if reason:
                pytest.fail(f"--must-run: needs {need}: {reason}", pytrace=False)


def _program(name: str) -> str:
    path = BIN / name
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is missing: run tools/setup --tests first", pytrace=False)
    return str(path)


@pytest.fixture(scope="session")
def pyrun_path() -> str:
    """The installed ``pyrun``."""
    return _program("pyrun")


@pytest.fixture(scope="session")
def pyconmon_path() -> str:
    """The installed ``pyconmon``."""
    return _program("pyconmon")


@pytest.fixture(scope="session")
def pyengine_path() -> str:
    """The installed ``pyengine``."""
    return _program("pyengine")
