"""Callers that close what they should not, and numbers at the edge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.monitors import Container

pytestmark = [
    pytest.mark.needs("root", "runc", "busybox"),
    pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True),
]

Make = Callable[..., Container]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_lose_no_output(make: Make, closed: str) -> None:
    """The log file or the start pipe would take their numbers, and be closed with them."""
    made = make(["sh", "-c", "echo out; echo err >&2; exit 3"])
    made.prefix = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    assert made.run() == "3"
    assert sorted(text for _, _, text in made.log_lines()) == ["err", "out"]


def test_a_time_out_of_two_months_is_no_failure(make: Make) -> None:
    assert make(["sh", "-c", "exit 4"]).run("--timeout", "5000000") == "4"


@pytest.mark.parametrize("word", ["-1", "x", "99999", "9" * 30])
def test_a_pipe_that_is_none_is_a_message(make: Make, word: str) -> None:
    made = make(["true"])
    done, fd = made.launch(made.command(), {"_OCI_STARTPIPE": word})
    with open(fd) as sync:
        assert sync.read() == ""
    assert (done.returncode, "_OCI_STARTPIPE" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr
