"""Detach keys: what they may be, and how they are found in what is typed."""

from __future__ import annotations

import pytest

from pyengine.errors import ConfigError
from pyengine.monitor.keys import Matcher, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("", b""),
        ("a", b"a"),
        ("ctrl-a,b,ctrl-@", b"\x01b\x00"),
        ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1b\x1c\x1d\x1e\x1f"),
    ],
)
def test_keys_are_what_a_terminal_sends(text: str, expected: bytes) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["ctrl-8", "ctrl-", "ab", "a,,b", "ctrl-aa", "é"])
def test_other_keys_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid detach keys"):
        parse(text)


@pytest.mark.parametrize(
    ("keys", "typed", "passed", "detached"),
    [
        (b"pq", [b"xpqy"], b"x", True),
        (b"pq", [b"p", b"q"], b"", True),
        (b"pq", [b"p", b"x"], b"px", False),
        (b"pq", [b"pp", b"q"], b"p", True),
        (b"ppq", [b"p", b"p", b"p", b"q"], b"p", True),
        (b"abc", [b"ab", b"ab", b"x"], b"ababx", False),
        (b"a", [b"xa"], b"x", True),
        (b"", [b"\x10\x11"], b"\x10\x11", False),
    ],
)
def test_only_the_whole_sequence_detaches(
    keys: bytes, typed: list[bytes], passed: bytes, detached: bool
) -> None:
    matcher = Matcher(keys)
    answers = [matcher.pass_on(data) for data in typed]
    assert b"".join(data for data, _ in answers) == passed
    assert answers[-1][1] is detached
