"""Warnings that go to syslog, too."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyengine import log


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    if log._syslog is not None:
        log._syslog.close()
    log._syslog = None


def test_a_warning_is_sent_in_the_form_of_syslog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "SYSLOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        log.also_to_syslog()
        log.warning("told twice")
        assert daemon.recv(1000).decode().startswith("<12>pyengine[")
    log.warning("nobody listens any more")
    printed = capsys.readouterr().err
    assert "told twice" in printed
    assert "nobody listens any more" in printed
    assert "send to" in printed


def test_a_host_without_syslog_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "SYSLOG", str(tmp_path / "nosuch"))
    log.also_to_syslog()
    log.warning("still printed")
    printed = capsys.readouterr().err
    assert "nosuch: No such file or directory" in printed
    assert "still printed" in printed
