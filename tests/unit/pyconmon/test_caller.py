from __future__ import annotations

import json
import os
import posix

import pytest

from pyconmon import caller, notify
from pyconmon.errors import MonitorError


def line_of(number: int, message: str) -> bytes:
    read_fd, write_fd = os.pipe()
    pipe = caller.ResultPipe(write_fd, "data")
    pipe.send(number, message)
    pipe.close()
    with open(read_fd, "rb") as stream:
        return stream.read()


def test_a_number_alone_is_conmons_line() -> None:
    assert line_of(42, "") == b'{"data": 42}\n'


def test_any_message_is_valid_json() -> None:
    message = "".join(map(chr, range(1, 300))) + '"quoted" \\ and /slashes/'
    assert json.loads(line_of(-1, message)) == {"data": -1, "message": message}


def test_bytes_that_are_no_text_pass_unchanged() -> None:
    assert line_of(-1, "\udcff") == b'{"data": -1, "message": "\xff"}\n'


def test_a_caller_that_has_gone_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyconmon.diagnostics.level", -1)
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    pipe = caller.ResultPipe(write_fd, "data")
    pipe.send(1)
    assert pipe.fileno() == -1
    pipe.send(2)


@pytest.mark.parametrize("value", [b"x", b"9999", b"", b"1e9"])
def test_a_pipe_that_is_none_is_named(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(posix.environ, b"_OCI_SYNCPIPE", value)
    with pytest.raises(MonitorError, match="_OCI_SYNCPIPE"):
        caller.pipe_from_environment("_OCI_SYNCPIPE")


def test_without_the_variable_there_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(posix.environ, b"_OCI_SYNCPIPE", raising=False)
    assert caller.pipe_from_environment("_OCI_SYNCPIPE") == -1


def test_only_harmless_notifications_pass() -> None:
    message = b"READY=1\nMAINPID=1\r\nSTATUS=up\nFDSTORE=1\nWATCHDOG=1\nREADY=10"
    assert notify.safe_lines(message) == b"READY=1\nSTATUS=up\nWATCHDOG=1"
