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
