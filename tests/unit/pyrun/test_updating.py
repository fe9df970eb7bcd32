"""What ``update`` makes of its options and of the limits from before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyrun.commands import update
from pyrun.commands.usage import UsageError
from pyrun.container import updating
from pyrun.errors import ContainerError
from pyrun.linux import resctrl


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("1073741824", 1 << 30), ("64m", 64 << 20), ("64MB", 64 << 20), ("1.5GiB", 3 << 29),
        ("2 k", 2048), ("-1", -1), ("0", 0), ("7b", 7),
    ],
)  # fmt: skip
def test_sizes_are_read_as_docker_writes_them(word: str, size: int) -> None:
    assert update._bytes(word, "memory") == size


@pytest.mark.parametrize(
    "word",
    [
        "", "m", "-2", "1x", "1.m.2", "9223372036854775808", "8388608t", "9" * 5000,
        "9" * 400 + ".5",
    ],
)  # fmt: skip
def test_what_is_no_size_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        update._bytes(word, "memory")


@pytest.mark.parametrize("word", ["x", "1.5", "--1", "12345678901234567890"])
def test_what_is_no_number_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--cpu-quota needs a number"):
        update._number(word, "cpu-quota")


def test_limits_are_merged_member_by_member() -> None:
    before = {"memory": {"limit": 1, "swap": 2}, "pids": {"limit": 3}, "devices": [{"a": 1}]}
    changes: dict[str, Any] = {
        "memory": {"limit": 5},
        "cpu": {"shares": 7},
        "devices": [],
        "pids": None,
    }
    assert updating.merged(before, changes) == {
        "memory": {"limit": 5, "swap": 2}, "pids": {"limit": 3}, "devices": [],
        "cpu": {"shares": 7},
    }  # fmt: skip
    assert before["memory"] == {"limit": 1, "swap": 2}


def test_an_entry_for_the_same_device_is_replaced() -> None:
    one = {"major": 8, "minor": 0, "rate": 1}
    other = {"major": 8, "minor": 16, "rate": 2}
    before = {
        "blockIO": {"throttleReadBpsDevice": [one]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
    }
    changes = {
        "blockIO": {"throttleReadBpsDevice": [other, {**one, "rate": 9}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
    }
    assert updating.merged(before, changes) == {
        "blockIO": {"throttleReadBpsDevice": [{**one, "rate": 9}, other]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
    }


def test_the_other_half_of_a_pair_stays_as_it_was() -> None:
    before = {"cpu": {"quota": 1000, "period": 5000}, "memory": {"limit": 10, "swap": 20}}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"cpu": {"period": 7000}}, {"cpu": {"period": 7000, "quota": 1000}}),
        ({"memory": {"limit": 15}}, {"memory": {"limit": 15, "swap": 20}}),
        ({"memory": {"limit": -1}}, {"memory": {"limit": -1}}),
        ({"pids": {"limit": 1}}, {"pids": {"limit": 1}}),
    ]
    for changes, expected in cases:
        assert updating._with_pairs(changes, before) == expected


def test_schemata_go_to_the_group_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(f"1 2 0:3 / {tmp_path} rw - resctrl resctrl rw\n")
    (tmp_path / "box").mkdir()
    (tmp_path / "box/schemata").write_text("")
    monkeypatch.setattr(resctrl, "MOUNTINFO", str(tmp_path / "mountinfo"))
    resctrl.write_schemata("box", ["L3:0=f"], "--l3-cache-schema")
    assert (tmp_path / "box/schemata").read_text() == "L3:0=f\n"
    with pytest.raises(ContainerError, match="no group other"):
        resctrl.write_schemata("other", ["L3:0=f"], "--l3-cache-schema")
