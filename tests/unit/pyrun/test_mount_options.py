from __future__ import annotations

import pytest

from pyrun import syscalls
from pyrun.errors import ConfigError
from pyrun.linux import mount_idmap
from pyrun.linux.mounts import parse_options
from pyrun.spec import shapes


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


def test_words_about_links_are_for_bind_mounts() -> None:
    words = ["copy-symlink", "src-nofollow", "dest-nofollow"]
    assert parse_options(["bind", *words], "").links == set(words)
    with pytest.raises(ConfigError, match="/mounts/3/options: src-nofollow: is for bind mounts"):
        parse_options(["ro", "src-nofollow"], "/mounts/3/options")


# What runc 1.5 and crun 1.27 take; none may reach the file system as an option of its own.
PEERS = shapes.words(
    "async atime bind copy-symlink defaults dest-nofollow dev diratime dirsync exec idmap "
    "iversion lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime "
    "nomand norelatime nostrictatime nosuid nosymfollow private rasync ratime rbind rdev "
    "rdiratime rdirsync relatime remount rexec ridmap rmand rnoatime rnodev rnodiratime "
    "rnoexec rnomand rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime "
    "rro rrw rshared rslave rstrictatime rsuid rsymfollow rsync runbindable rw shared "
    "silent slave src-nofollow strictatime suid symfollow sync tmpcopyup unbindable"
)


@pytest.mark.parametrize("word", sorted(PEERS))
def test_every_word_of_the_peers_is_understood(word: str) -> None:
    assert parse_options(["bind", word], "").data == ""


LINUX = {
    "uidMappings": [
        {"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 2, "size": 1000},
    ],
    "gidMappings": [{"containerID": 0, "hostID": 500, "size": 100}],
}  # fmt: skip


def test_mappings_of_an_idmapped_mount_come_from_where_they_are() -> None:
    own = [{"containerID": 0, "hostID": 7, "size": 1}]
    entry = {"uidMappings": own, "gidMappings": own}
    assert mount_idmap.wanted(entry, "ridmap", LINUX, "") == (own, own)
    assert mount_idmap.wanted({}, "idmap", LINUX, "") is None
    found = mount_idmap.wanted({}, "idmap=uids=0-1-10#@1-3-10;gids=@0-100-10", LINUX, "")
    assert found == (
        [{"containerID": 0, "hostID": 1, "size": 10}, {"containerID": 1, "hostID": 4, "size": 10}],
        [{"containerID": 0, "hostID": 600, "size": 10}],
    )


@pytest.mark.parametrize(
    "word",
    [
        "uids=0-1-2", "uids=0-1;gids=0-1-2", "uids=a-1-2;gids=0-1-2", "x=1",
        "uids=@5000-1-1;gids=0", f"uids=0-{'9' * 5000}-1;gids=0-1-2",
    ],
)  # fmt: skip
def test_a_mapping_that_makes_no_sense_is_named(word: str) -> None:
    with pytest.raises(ConfigError, match="/mounts/0/options: idmap: "):
        mount_idmap.wanted({}, f"idmap={word}", LINUX, "/mounts/0")
