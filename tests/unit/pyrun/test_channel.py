from __future__ import annotations

import os

import pytest

from pyrun.container import channel
from pyrun.errors import ConfigError, ContainerError, KernelError
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


@pytest.mark.parametrize("length", [channel._LIMIT_BYTES, 1 << 24])
def test_what_cannot_be_sent_is_an_error_and_no_wait_for_an_answer(length: int) -> None:
    """Too long for a packet, or for the kernel: the other side still waits for it."""
    ours, _theirs = channel.pair()
    with pytest.raises(KernelError, match="tell the container process: cgroup"):
        ours.send("cgroup", entered=["x" * length])


def test_a_full_channel_is_an_error_and_no_wait_for_an_answer() -> None:
    """As when the kernel has no memory for the packet."""
    ours, _theirs = channel.pair()
    os.set_blocking(ours.fd, False)
    with pytest.raises(KernelError, match="Resource temporarily unavailable"):  # noqa: PT012 - which of them is the kernel's matter
        while True:
            ours.send("go", text="x" * 60_000)


@pytest.mark.parametrize("char", ["x", "é", "\x01", '"'])
def test_shortened_messages_fit_into_a_packet(char: str) -> None:
    ours, theirs = channel.pair()
    lines = channel.shortened([char * 1000] * 1000)
    ours.send("forked", warnings=lines, notes=lines)
    assert theirs.receive("forked")["notes"][-1] == "and 952 more"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("libffi.so.8: cannot read"), "load a part of Python: libffi.so.8"),
        (MemoryError(), "there is no memory left"),
        (ValueError("odd"), r"a fault of pyrun: ValueError\('odd'\)"),
    ],
)
def test_what_no_layer_raises_has_words_of_its_own(error: Exception, said: str) -> None:
    ours, theirs = channel.pair()
    ours.send("error", **channel.describe(error))
    with pytest.raises(ContainerError, match=said):
        theirs.receive("created")
