"""What has no state: JSON text, options, identifiers, signals, capabilities, sysctl, paths."""

from __future__ import annotations

import errno
import json
import os
import posix
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun import syscalls
from pyrun.commands.kill import signal_number
from pyrun.commands.options import FLAG, LIST, VALUE, Syntax
from pyrun.commands.usage import HelpShown, UsageError
from pyrun.container import process, store
from pyrun.errors import ConfigError, ContainerError
from pyrun.linux import capabilities, namespaces, paths, sysctl
from pyrun.particular_errors import CommandNotExecutableError, CommandNotFoundError
from pyrun.spec import jsontext

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_goes_there_and_back(value: Any) -> None:
    assert json.loads(jsontext.dumps(value)) == value
    assert json.loads(jsontext.dumps(value, 2)) == value
    assert jsontext.loads(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["", "{", '{"a":1} x', "[NaN]", '{"a" 1}', '"\n"', "[1,]"])
def test_broken_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json words the message
        jsontext.loads(text)


SYNTAX = Syntax(
    "x [options] A [B...]",
    {"--flag/-f": (FLAG, ""), "--value/-v": (VALUE, ""), "--list/-l": (LIST, ""),
     "--tty/-t": (FLAG, "")},
    (1, None),
)  # fmt: skip


def test_options_in_every_form() -> None:
    words = ["-ft", "a", "--value=1", "-v2", "-l", "x", "--list", "y", "--", "-z"]
    options = SYNTAX.parse(words)
    assert (options.flag("flag"), options.flag("tty")) == (True, True)
    assert options.text("value") == "2"
    assert options.all("list") == ["x", "y"]
    assert options.arguments == ["a", "-z"]
    assert SYNTAX.parse(["-value", "3", "--flag=false", "a"]).text("value") == "3"
    assert not SYNTAX.parse(["--flag=false", "a"]).flag("flag")
    assert not SYNTAX.parse(["-f", "-f=false", "a"]).flag("flag")
    assert SYNTAX.parse(["-tf=1", "a"]).flag("flag")


@pytest.mark.parametrize(
    "words", [[], ["--nope", "a"], ["a", "--value"], ["-x", "a"], ["a", "-v"], ["-f=2", "a"]]
)
def test_a_wrong_command_line_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError):
        SYNTAX.parse(words)


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpShown):
        SYNTAX.parse(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("-f, --flag", "-v, --value VALUE", "--list", "--tty"))


def test_a_value_that_must_be_a_number() -> None:
    with pytest.raises(UsageError, match="--value needs a number, not 'x'"):
        SYNTAX.parse(["--value", "x", "a"]).number("value")


@pytest.mark.parametrize(
    ("word", "number"),
    [("0", 0), ("9", 9), ("KILL", 9), ("SIGTERM", 15), ("sigusr1", 10), ("RTMIN+3", 37)],
)
def test_signals_by_number_and_name(word: str, number: int) -> None:
    assert signal_number(word) == number


@pytest.mark.parametrize("word", ["NONE", "CLD_EXITED", "-1", "200", "RTMIN+x", ""])
def test_what_is_no_signal(word: str) -> None:
    with pytest.raises(UsageError):
        signal_number(word)


@pytest.mark.parametrize("name", ["a", "a.b_c+d-e", "x" * 255])
def test_valid_identifiers(name: str) -> None:
    store.check_id(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "a\n", "x" * 256])
def test_invalid_identifiers(name: str) -> None:
    with pytest.raises(ContainerError, match="invalid container ID format"):
        store.check_id(name)


def test_capabilities_that_cannot_be_given_are_warned_of() -> None:
    sets = capabilities.Sets({"bounding": ["CAP_CHOWN", "CAP_NEW"], "effective": ["CAP_NEW"]})
    assert sets.bounding == 1
    assert sets.warnings == ["capability CAP_NEW is unknown and left out"]
    assert sets.beyond(0) == [
        "capability CAP_CHOWN is not in the caller's bounding set and left out"
    ]


def test_ambient_capabilities_that_cannot_be_given_are_warned_of() -> None:
    chown, kill = "CAP_CHOWN", "CAP_KILL"
    sets = {"permitted": [chown, kill], "inheritable": [kill], "ambient": [chown, kill]}
    assert [warning.split(":")[0] for warning in capabilities.Sets(sets).warnings] == [
        "capability CAP_CHOWN is not ambient"
    ]


def test_a_sysctl_needs_its_namespace() -> None:
    sysctl.check({"net/ipv4/conf/eth0.1/forwarding": "1"}, syscalls.CLONE_NEWNET)
    for name, own in (("net.ipv4.ip_forward", 0), ("kernel.panic", -1), ("kernel.sem", 0)):
        with pytest.raises(ConfigError, match="/linux/sysctl/"):
            sysctl.check({name: "1"}, own)


def test_programs_are_found_as_execvp_does(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one/x").write_text("")
    env = [f"PATH=relative:{tmp_path}/one:{tmp_path}/two"]
    with pytest.raises(CommandNotExecutableError, match="permission denied"):
        process.find_program("x", env)
    (tmp_path / "two/x").write_text("")
    (tmp_path / "two/x").chmod(0o755)
    assert process.find_program("x", env) == f"{tmp_path}/two/x"
    with pytest.raises(CommandNotFoundError, match=r"executable file not found in \$PATH"):
        process.find_program("y", env)
    with pytest.raises(CommandNotFoundError, match="no such file or directory"):
        process.find_program("/no/y", env)


def by_openat2(root_fd: int, path: str) -> int:
    return paths.open_inside(root_fd, path, os.O_RDONLY)


def by_walking(root_fd: int, path: str) -> int:
    return paths._walk(root_fd, path.strip("/"), os.O_RDONLY, 0)


@pytest.mark.parametrize("resolve", [by_openat2, by_walking])
def test_links_stay_inside_of_the_root(tmp_path: Path, resolve: Callable[[int, str], int]) -> None:
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "dir/file").write_text("inside")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("outside")
    for name, target in (("abs", "/dir/file"), ("up", "../../dir/file"), ("loop", "loop")):
        os.symlink(target, root / "dir" / name)
    root_fd = os.open(root, os.O_PATH)
    for path in ("/dir/abs", "/dir/up", "../../dir/file", "/dir/../dir/./file"):
        fd = resolve(root_fd, path)
        assert os.read(fd, 10) == b"inside"
        os.close(fd)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        resolve(root_fd, "/dir/loop")
    os.close(root_fd)


@pytest.mark.parametrize("resolve", [by_openat2, by_walking])
def test_no_link_of_procfs_leads_out_of_it(resolve: Callable[[int, str], int]) -> None:
    """Those that lead where their text does not say."""
    root_fd = os.open("/proc", os.O_PATH)
    try:
        for path in ("root", "cwd", "exe", "fd/0", "root/etc/passwd", "task/../root"):
            with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
                resolve(root_fd, f"/self/{path}")
        fd = resolve(root_fd, "/mounts")  # a link with a text
        assert os.read(fd, 1)
        os.close(fd)
    finally:
        os.close(root_fd)


def test_the_kernel_is_asked_to_follow_no_magic_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it does not with RESOLVE_IN_ROOT, as yet: openat2(2) says that this may change."""
    asked: list[tuple[int | str, ...]] = []

    def openat2(*words: int | str) -> int:
        asked.append(words)
        return 7

    monkeypatch.setattr(syscalls, "openat2", openat2)
    assert paths.open_inside(3, "/a/b", os.O_RDONLY) == 7
    both = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    assert asked == [(3, "a/b", os.O_RDONLY, 0, both)]
    assert both == 0x10 | 0x02  # linux/openat2.h


def test_what_is_missing_is_made_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    os.symlink("/made/by/link", root / "link")
    root_fd = os.open(root, os.O_PATH)
    for path, directory in (("/a/b/c", True), ("/d/file", False), ("/link/x", True)):
        os.close(paths.make_inside(root_fd, path, directory=directory))
    os.close(root_fd)
    assert (root / "a/b/c").is_dir()
    assert (root / "d/file").is_file()
    assert (root / "made/by/link/x").is_dir()
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_a_hundred_thousand_unknown_capabilities_take_no_time() -> None:
    names = [f"CAP_{number}" for number in range(100_000)]
    assert len(capabilities.Sets({"bounding": names, "permitted": names}).warnings) == 100_000


def test_a_namespace_that_nothing_tells_of_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``exec`` would leave the process in one of the host."""
    assert not namespaces.is_other(os.getpid(), "net")
    assert not namespaces.is_other(os.getpid(), "of-tomorrow")

    def refuse(path: str) -> os.stat_result:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), path)

    monkeypatch.setattr(posix, "stat", refuse)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        namespaces.is_other(os.getpid(), "net")
