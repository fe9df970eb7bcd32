from __future__ import annotations

import pytest

from pyengine.errors import ConfigError
from pyengine.specgen import options


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("64m", 64 << 20), ("1.5g", 3 << 29), ("4096", 4096), ("10k", 10240), ("1GiB", 1 << 30)],
)  # fmt: skip
def test_sizes(text: str, bytes_: int) -> None:
    assert options.size("--memory", text) == bytes_


@pytest.mark.parametrize("text", ["", "m", "1x", "-1m", "1 2m"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--memory .*invalid size"):
        options.size("--memory", text)


def test_limits_in_the_kernels_units() -> None:
    assert options.resources("64m", 0.5, -1) == {
        "memory_limit_bytes": 64 << 20,
        "cpu_quota_us": 50000,
        "cpu_period_us": 100000,
        "pids_limit": 0,
    }
    assert options.resources(None, None, None) == {}
    assert options.resources("0", None, None) == {}


def test_a_bind_mount_is_recursive_and_private_unless_said_otherwise() -> None:
    volume = options.volume("/host:/inside")
    assert volume["source"] == "/host"
    assert volume["options"] == ["rw", "rprivate", "rbind"]
    assert options.volume("/h:/i:ro,Z,rshared,bind")["options"] == ["ro", "rshared", "bind"]


def test_a_source_without_a_slash_is_a_volume_that_gives_no_devices() -> None:
    volume = options.volume("data:/inside")
    assert (volume["source"], volume["name"]) == ("", "data")
    assert volume["options"] == ["nosuid", "nodev", "rw", "rprivate", "rbind"]


@pytest.mark.parametrize(
    "text",
    ["/a", "/a:b", "/a:/b:/c:d", "/a:/b:what", "/a:/", "/a:/x/..", ":/b", "/a:", "/a:/b:ro,rw",
     "bad name:/b", "/a:/b:slave,private"],
)  # fmt: skip
def test_a_wrong_volume_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--volume"):
        options.volume(text)


def test_tmpfs_options() -> None:
    assert options.tmpfs("/t") == ("/t", ["rw", "rprivate", "nosuid", "nodev", "tmpcopyup"])
    destination, found = options.tmpfs("/t:size=1m,mode=700,exec,notmpcopyup,suid")
    assert destination == "/t"
    assert found == ["size=1m", "mode=700", "rw", "rprivate", "nodev"]


@pytest.mark.parametrize("text", ["t", "/", "/t:size=lots", "/t:bogus", "/t:ro,rw"])
def test_a_wrong_tmpfs_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--tmpfs"):
        options.tmpfs(text)
