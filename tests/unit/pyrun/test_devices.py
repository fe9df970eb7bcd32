"""A node of the host in the place of one that a user namespace may not make."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyrun.errors import ConfigError
from pyrun.linux import devices


@pytest.mark.parametrize("wrong", [{"minor": 3}, {"type": "b"}])
def test_a_node_of_the_host_must_be_the_device_that_is_meant(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    device = {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, **wrong}
    root_fd = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(ConfigError, match=f"is not the device 1:{device['minor']}"):
            devices.make(root_fd, device, "/linux/devices/0", bind=True)
    finally:
        os.close(root_fd)
