"""The moment in which a monitor becomes the resident program."""

from __future__ import annotations

import ast
import gc
import marshal
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyconmon import handover, loader, loop, resident

IDLE = {
    "began_ns": 0, "stdin": -1, "outputs": (-1, -1), "terminal": -1, "attach": -1,
    "fifos": (-1, -1), "sync": (-1, "data"), "logs": [], "oom": None,
}  # fmt: skip


@pytest.fixture
def the_loop() -> Iterator[loop.Loop]:
    old = signal.getsignal(signal.SIGCHLD)
    the_loop = loop.Loop()
    the_loop.on_signal(signal.SIGCHLD, lambda _number: the_loop.stop())
    yield the_loop
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, old)


def test_a_signal_of_the_last_moment_stays_with_the_monitor(
    the_loop: loop.Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after all had been looked at, and before the signals were blocked."""

    def block(how: int, signals: set[int]) -> set[int]:
        if how == signal.SIG_BLOCK:
            os.kill(os.getpid(), signal.SIGCHLD)
        return set(signal.pthread_sigmask(how, signals))

    names = {name: getattr(signal, name) for name in ("SIG_BLOCK", "SIG_SETMASK")}
    monkeypatch.setattr(handover, "_signal", SimpleNamespace(pthread_sigmask=block, **names))
    monkeypatch.setattr(
        handover, "_is_same_file", lambda *_: pytest.fail("the next step, so a signal is lost")
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    handover.execute(dict(IDLE), {}, the_loop)
    assert the_loop.has_signals
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    the_loop.run()  # and the handler is called


class PausedOutput:
    """All that the resident program's wait asks of an output."""

    def __init__(self) -> None:
        self.paused = 0

    def pause(self) -> None:
        self.paused += 1


class FailingLoop:
    """Watches, and fails as soon as it runs."""

    def __init__(self) -> None:
        self.watched: set[int] = set()

    def watch(self, fd: int, _events: int, _handler: object) -> None:
        self.watched.add(fd)

    def forget(self, fd: int) -> None:
        self.watched.discard(fd)

    def on_signal(self, _number: int, _handler: object) -> None:
        """Nothing comes."""

    def run(self) -> None:
        raise MemoryError

    def stop(self) -> None:
        """It does not run."""


def test_a_fault_of_the_resident_program_hands_the_container_to_the_monitor() -> None:
    failing: Any = FailingLoop()
    output: Any = PausedOutput()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        resident._wait(failing, [output], {"attach": 3, "fifos": (4, 5), "oom": (6, "", 0),
                                           "oom_events": 1})  # fmt: skip
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert (failing.watched, output.paused) == (set(), 1), "as the monitor expects it"
    assert gc.isenabled()


def test_every_module_that_is_held_is_there_and_small_enough() -> None:
    """One that could not be loaded whole would be missed at the container's end."""
    top = Path(loader.__file__).parent
    for name in handover._MODULES:
        code = compile((top / f"{name}.py").read_text(), f"{name}.py", "exec", dont_inherit=True)
        assert len(marshal.dumps(code)) + 16 < loader.LIMIT_BYTES, name


# Loaded for an option that no resident monitor has, or for the start only.
NEVER_LATER = {
    "health", "journal", "jsonfile", "notify", "options", "runtime_call", "seccomp_notify",
    "startup",
}  # fmt: skip


def test_what_a_held_module_imports_is_held_too() -> None:
    top = Path(loader.__file__).parent
    for name in handover._MODULES:
        tree = ast.parse((top / f"{name}.py").read_text())
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported = {alias.name for n in nodes if n.module == "pyconmon" for alias in n.names}
        imported |= {(n.module or "").rpartition("pyconmon.")[2] for n in nodes
                     if (n.module or "").startswith("pyconmon.")}  # fmt: skip
        assert imported <= {*handover._MODULES, *NEVER_LATER}, name
