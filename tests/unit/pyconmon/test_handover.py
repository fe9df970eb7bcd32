"""The moment in which a monitor becomes the resident program."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pyconmon import handover, loop

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
