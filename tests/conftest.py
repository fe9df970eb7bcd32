"""Fixtures and options that every test may use.

The programs under test are those that ``tools/setup`` installed beside this Python. ``--must-run``
turns the skip of a need into a failure, so that CI cannot lose tests silently;
``--check-leaks`` fails the run when it leaves a mount, cgroup, process or state directory behind.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import beside, leaks, machine

BIN = Path(sys.executable).parent
BEFORE = pytest.StashKey[leaks.Snapshot]()
LEFT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--must-run",
        default="",
        metavar="NEED,...",
        help="needs whose absence fails a test instead of skipping it; 'all' for every one",
    )
    parser.addoption(
        "--emulated", action="store_true", help="also run what needs an emulated guest: minutes"
    )
    parser.addoption(
        "--fault-points", type=int, default=42, metavar="N", help="kills at random points"
    )
    parser.addoption(
        "--crowd", type=int, default=32, metavar="N", help="containers that are stopped at once"
    )
    parser.addoption(
        "--members", type=int, default=3000, metavar="N",
        help="how many members the largest layer has (default 3000; thorough: 1,000,000)",
    )  # fmt: skip
    parser.addoption(
        "--kills", type=int, default=40, metavar="N",
        help="at how many random moments image commands are killed (default 40; thorough: 200)",
    )  # fmt: skip
    parser.addoption(
        "--check-leaks", action="store_true", help="fail when the run leaves something behind"
    )


def pytest_configure(config: pytest.Config) -> None:
    # The same examples each time: chance finds faults, but must not fail somebody else's change.
    # --hypothesis-profile=default searches anew.
    settings.register_profile("steady", derandomize=True, deadline=None, database=None,
                              suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("steady")


def pytest_sessionstart(session: pytest.Session) -> None:
    # What a background job or nohup has us ignore, the programs under test would ignore too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    if session.config.getoption("--check-leaks"):
        session.config.stash[BEFORE] = leaks.snapshot()


def pytest_sessionfinish(session: pytest.Session) -> None:
    leaks.unmount_interpreter(sys.executable)
    before = session.config.stash.get(BEFORE, None)
    if before:
        leaks.remove_shared_parents(before)
    left = leaks.left_since(before) if before else []
    session.config.stash[LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left = terminalreporter.config.stash.get(LEFT, [])
    if left:
        terminalreporter.section("left on the machine", red=True)
        terminalreporter.write("".join(f"{line}\n" for line in left))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    must_run = set(filter(None, config.getoption("--must-run").split(",")))
    for item in items:
        if item.get_closest_marker("emulated") and not config.getoption("--emulated"):
            item.add_marker(pytest.mark.skip(reason="--emulated runs it, in a quarter of an hour"))
        for mark in item.iter_markers("needs"):
            for need in mark.args:
                reason = machine.missing(need)
                if reason and not (must_run & {need, "all"}):
                    item.add_marker(pytest.mark.skip(reason=f"needs {need}: {reason}"))
    items.sort(key=_runs_beside)  # last: their commands run beside the others


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            reason = machine.missing(need)
            if reason:
                pytest.fail(f"--must-run: needs {need}: {reason}", pytrace=False)


def _runs_beside(item: pytest.Item) -> bool:
    return item.get_closest_marker("beside") is not None


@pytest.fixture(scope="session", autouse=True)
def commands_beside(request: pytest.FixtureRequest) -> Iterator[beside.Queue | None]:
    """The commands that selected tests wait for, started before the first test of all."""
    commands = {
        item.nodeid: [str(word) for word in mark.args]
        for item in request.session.items
        if (mark := item.get_closest_marker("beside")) and not item.get_closest_marker("skip")
    }
    if not commands:
        yield None
        return
    queue = beside.Queue(commands)
    yield queue
    queue.stop()


@pytest.fixture
def done(request: pytest.FixtureRequest, commands_beside: beside.Queue) -> beside.Done:
    """How the command of this test's mark ended."""
    return commands_beside.result(request.node.nodeid)


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
