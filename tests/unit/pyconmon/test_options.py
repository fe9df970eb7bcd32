from __future__ import annotations

from pathlib import Path

import pytest

from pyconmon import options, orders
from pyconmon.errors import UsageError


def test_values_come_after_a_space_an_equals_sign_or_a_letter() -> None:
    given = options.parse(["--cid", "a", "--cuuid=b", "-n", "c", "-r/usr/bin/crun", "-b=d"])
    assert (given.cid, given.cuuid, given.name) == ("a", "b", "c")
    assert given.runtime == "/usr/bin/crun"
    assert given.bundle == "=d", "as conmon: a letter takes the rest, an equals sign included"


def test_letters_without_value_can_be_joined() -> None:
    given = options.parse(["-itc", "name"])
    assert given.stdin
    assert given.terminal
    assert given.cid == "name"


def test_api_version_is_a_flag_and_its_number_is_ignored() -> None:
    given = options.parse(["--api-version", "1", "-c", "x"])
    assert given.api_version is True
    assert given.cid == "x"


def test_lists_keep_their_order_and_later_texts_win() -> None:
    given = options.parse(["--runtime-arg", "--root", "--runtime-arg=/r", "-c", "a", "-c", "b"])
    assert given.runtime_args == ["--root", "/r"]
    assert given.cid == "b"


def test_nothing_after_two_dashes_is_an_option() -> None:
    assert options.parse(["-c", "a", "--", "-c", "b"]).cid == "a"


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("-5", -5), ("0x10", 16), ("010", 8), (" 3", 3), ("0", 0)]
)
def test_integers_are_read_as_strtol_reads_them(text: str, number: int) -> None:
    assert options.parse(["--exit-delay", text]).exit_delay_s == number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "Unknown option --nope"),
        (["-xq"], "Unknown option -xq"),
        (["--stdin=yes"], "Unknown option --stdin=yes"),
        (["-c"], "Missing argument for -c"),
        (["--timeout"], "Missing argument for --timeout"),
        (["--timeout", "abc"], "Cannot parse integer value “abc” for --timeout"),
        (["--timeout", "1_0"], "Cannot parse integer value “1_0” for --timeout"),
        (["--timeout", "99999999999"], "Integer value “99999999999” for --timeout out of range"),
    ],
)
def test_what_cannot_be_read_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=r"^option parsing failed: ") as caught:
        options.parse(arguments)
    assert str(caught.value) == f"option parsing failed: {message}"


def test_help_names_every_option_that_is_not_deprecated() -> None:
    text = options.usage()
    for name, *_, help_text in options.TABLE:
        assert (f"--{name}" in text) == bool(help_text)


def test_orders_replace_what_supervises_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    current = options.parse(["-c", "id", "-b", str(tmp_path), "--health-cmd", "old", "-t"])
    path = tmp_path / "orders"
    words = ("--health-cmd", "a b", "--health-cmd", "c", "--restart-policy=always", "-c", "other",
             f"--persist-dir={tmp_path}", "--exit-command=/bin/true")  # fmt: skip
    path.write_bytes("".join(f"{word}\0" for word in words).encode())
    assert orders.take(current)
    assert (current.health_command, current.restart_policy) == (["a b", "c"], "always")
    assert (current.cid, current.terminal, current.health_retries) == ("id", True, 3)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["orders.taken"]
    for text in (b"--nonsense\0", b"--restart-policy=sometimes\0"):
        path.write_bytes(text)
        assert not orders.take(current)
        assert current.restart_policy == "always"
    assert (tmp_path / "orders.refused").exists()
    assert not orders.take(current)  # there are none
    assert "No such file or directory" in capfd.readouterr().err
