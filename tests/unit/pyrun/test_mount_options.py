from __future__ import annotations

import pytest

from pyrun import syscalls
from pyrun.errors import ConfigError
from pyrun.linux.mounts import parse_options


def test_later_option_wins() -> None:
    assert parse_options(["ro", "rw"], "/mounts/0/options").flags == 0
    assert parse_options(["rw", "ro"], "/mounts/0/options").flags == syscalls.MS_RDONLY


def test_what_was_switched_off_is_told_from_what_was_not_said() -> None:
    assert parse_options(["rw", "suid"], "").cleared == syscalls.MS_RDONLY | syscalls.MS_NOSUID
    assert parse_options([], "").cleared == 0


def test_bind_and_rbind() -> None:
    assert parse_options(["bind"], "").flags == syscalls.MS_BIND
    assert parse_options(["rbind"], "").flags == syscalls.MS_BIND | syscalls.MS_REC


def test_unknown_options_are_the_file_systems() -> None:
    options = parse_options(["size=1m", "nosuid", "mode=755"], "")
    assert (options.data, options.flags) == ("size=1m,mode=755", syscalls.MS_NOSUID)


def test_propagation_is_set_apart() -> None:
    options = parse_options(["rslave", "shared"], "")
    assert options.flags == 0
    assert options.propagation == [syscalls.MS_SLAVE | syscalls.MS_REC, syscalls.MS_SHARED]


def test_recursive_attributes() -> None:
    options = parse_options(["rro", "rnosuid", "rrw"], "")
    assert options.tree_set == syscalls.MOUNT_ATTR_NOSUID
    assert options.tree_clear == syscalls.MOUNT_ATTR_RDONLY


def test_idmap_is_refused_instead_of_ignored() -> None:
    with pytest.raises(ConfigError, match="/mounts/3/options/1"):
        parse_options(["ro", "idmap"], "/mounts/3/options")
