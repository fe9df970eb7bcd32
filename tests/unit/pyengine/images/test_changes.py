"""What is merged into the configuration of a committed image."""

from __future__ import annotations

import pytest

from pyengine.errors import ConfigError
from pyengine.images.changes import merge

BEFORE = {"Env": ["A=1", "B=2"], "Cmd": ["old"], "Labels": {"k": "v"}, "User": "me"}


def test_variables_and_maps_are_merged_and_the_rest_is_replaced() -> None:
    more = {"Env": ["A=3"], "Cmd": ["new"], "Labels": {"l": "w"}, "User": "", "Volumes": None}
    assert merge(BEFORE, more) == {
        "Env": ["B=2", "A=3"], "Cmd": ["new"], "Labels": {"k": "v", "l": "w"}, "User": "me"
    }  # fmt: skip


@pytest.mark.parametrize("more", [{"Hostname": "x"}, {"Cmd": "x"}, {"Env": {"A": "b"}}])
def test_what_has_no_place_in_an_image_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"--config: {next(iter(more))}: "):
        merge(BEFORE, more)
