"""Which cgroup belongs to its container, and to which user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyrun.linux.cgroups import ownership

CGROUP: dict[str, Any] = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (CGROUP, True),
        ({**CGROUP, "options": ["nosuid", "rw"]}, True),
        ({**CGROUP, "options": ["nosuid", "ro"]}, False),
        ({**CGROUP, "destination": "/mnt"}, False),
        ({**CGROUP, "source": "/sys/fs/cgroup"}, False),
    ],
)
def test_only_a_writable_mount_of_the_cgroup_counts(entry: dict[str, Any], expected: bool) -> None:
    assert ownership.is_writable([{"destination": "/proc"}, entry]) is expected


def test_a_user_is_looked_up_in_the_mappings() -> None:
    mappings = [
        {"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 1, "hostID": 100000, "size": 10},
    ]
    assert [ownership.host_id(uid, mappings) for uid in (0, 1, 10, 11)] == [
        1000,
        100000,
        100009,
        -1,
    ]


def test_files_that_the_cgroup_does_not_have_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    ownership.give(str(tmp_path), -1)
    with pytest.raises(FileNotFoundError):
        ownership.give(str(tmp_path / "none"), -1)
