from __future__ import annotations

import os

import pytest

from pyrun.container import channel
from pyrun.errors import ConfigError, KernelError
from pyrun.particular_errors import CommandNotFoundError


def test_a_record_arrives_whole() -> None:
    ours, theirs = channel.pair()
    ours.send("forked", pid=7)
    assert theirs.receive("forked") == {"kind": "forked", "pid": 7}


def test_an_error_is_raised_on_the_other_side_with_class_and_errno() -> None:
    for error in (
        KernelError("mount x", OSError(1, "Operation not permitted")),
        ConfigError("/a/b", "is wrong"),
        CommandNotFoundError("none"),
    ):
        ours, theirs = channel.pair()
        ours.send("error", **channel.describe(error))
        with pytest.raises(type(error)) as caught:
            theirs.receive("created")
        assert str(caught.value) == str(error)
        assert getattr(caught.value, "errno", 0) == getattr(error, "errno", 0)


def test_last_words_are_read_even_when_ours_were_not() -> None:
    ours, theirs = channel.pair()
    ours.send("go")
    theirs.send("error", **channel.describe(ConfigError("/a", "is wrong")))
    theirs.close()
    with pytest.raises(ConfigError, match="is wrong"):
        ours.receive("created")


def test_last_words_are_raised_by_a_send_that_comes_too_late() -> None:
    ours, theirs = channel.pair()
    theirs.send("error", **channel.describe(ConfigError("/a", "is wrong")))
    theirs.close()
    with pytest.raises(ConfigError, match="is wrong"):
        ours.send("go")


def test_an_end_without_a_word_is_told_apart() -> None:
    ours, theirs = channel.pair()
    theirs.close()
    with pytest.raises(channel.ChannelClosedError):
        ours.receive("created")


def test_the_descriptors_are_close_on_exec() -> None:
    assert [os.get_inheritable(end.fd) for end in channel.pair()] == [False, False]
