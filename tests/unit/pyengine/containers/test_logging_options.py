"""--log-driver and --log-opt beside containers.conf."""

from __future__ import annotations

from typing import Any

import pytest

from pyengine.containers.configuring import logging
from pyengine.containers.options import ContainerOptions
from pyengine.errors import ConfigError


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "JOURNAL_SOCKET", "/no/journal")


def configure(driver: str = "", *opts: str, **table: object) -> Any:
    wanted = ContainerOptions("box", log_driver=driver, log_opt=opts)
    return logging.configure(wanted, dict(table))


def test_options_win_over_the_file() -> None:
    assert configure(log_driver="none") == {"driver": "none"}
    assert configure("k8s-file", log_driver="none", log_size_max=9000) == {
        "driver": "k8s-file", "size_max_bytes": 9000,
    }  # fmt: skip
    found = configure("json-file", "max-size=10k", "max-file=3", "path=/tmp/x.log")
    assert found == {
        "driver": "json-file", "size_max_bytes": 10240, "files": 3, "path": "/tmp/x.log",
    }  # fmt: skip


def test_the_files_journald_means_a_file_where_there_is_no_journal() -> None:
    assert configure(log_driver="journald", log_tag="x") == {"driver": "k8s-file"}


@pytest.mark.parametrize(
    ("driver", "opt", "message"),
    [
        ("bogus", "", "invalid log driver"),
        ("journald", "", "no journal"),
        ("", "bogus=1", "--log-opt bogus=1"),
        ("", "max-size", "with a value"),
        ("", "max-size=lots", "invalid size"),
        ("", "max-size=1k", "at least 8k"),
        ("", "max-file=0", "not a number of files"),
        ("", "tag=x", "not for the log driver k8s-file"),
        ("none", "path=/x", "not for the log driver none"),
        ("", "path=/no/such/log", "is no directory"),
        ("", "path=/tmp", "it is a directory"),
    ],
)
def test_what_cannot_be_done_is_refused(driver: str, opt: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(driver, *([opt] if opt else []))


def test_passthrough_has_no_terminal() -> None:
    wanted = ContainerOptions("box", log_driver="passthrough", terminal=True)
    with pytest.raises(ConfigError, match="--tty"):
        logging.configure(wanted, {})
