from __future__ import annotations

import pytest

from pyengine.errors import ConfigError
from pyengine.specgen import mount_options


def test_a_bind_mount_is_recursive_and_private_unless_said_otherwise() -> None:
    volume = mount_options.volume("/host:/inside")
    assert volume["source"] == "/host"
    assert volume["options"] == ["rw", "rprivate", "rbind"]
    assert mount_options.volume("/h:/i:ro,Z,rshared,bind")["options"] == ["ro", "rshared", "bind"]


def test_a_source_without_a_slash_is_a_volume_that_gives_no_devices() -> None:
    volume = mount_options.volume("data:/inside")
    assert (volume["source"], volume["name"]) == ("", "data")
    assert volume["options"] == ["nosuid", "nodev", "rw", "rprivate", "rbind"]


@pytest.mark.parametrize(
    "text",
    ["/a:b", "/a:/b:/c:d", "/a:/b:what", "/a:/", "/a:/x/..", ":/b", "/a:", "/a:/b:ro,rw",
     "bad name:/b", "/a:/b:slave,private"],
)  # fmt: skip
def test_a_wrong_volume_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--volume"):
        mount_options.volume(text)


def test_tmpfs_options() -> None:
    assert mount_options.tmpfs("/t") == ("/t", ["rw", "rprivate", "nosuid", "nodev", "tmpcopyup"])
    destination, found = mount_options.tmpfs("/t:size=1m,mode=700,exec,notmpcopyup,suid")
    assert destination == "/t"
    assert found == ["size=1m", "mode=700", "rw", "rprivate", "nodev"]


@pytest.mark.parametrize("text", ["t", "/", "/t:size=lots", "/t:bogus", "/t:ro,rw"])
def test_a_wrong_tmpfs_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--tmpfs"):
        mount_options.tmpfs(text)
