"""intelRdt with plain directories in the place of resctrl, which fills each new group."""

from __future__ import annotations

import os
import posix
import shutil
from pathlib import Path
from typing import Any

import pytest

from pyrun.container import statistics
from pyrun.container.store import Entry
from pyrun.errors import ConfigError, KernelError
from pyrun.linux import resctrl

L3, MB = "L3:0=7f0;1=1f", "MB:0=20;1=70"


def fill(path: Path) -> None:
    for name in ("tasks", "schemata"):
        (path / name).write_text("")
    (path / "mon_groups").mkdir()


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where resctrl seems to be mounted; a write appends, so that each one is seen."""
    made = tmp_path / "resctrl"
    made.mkdir()
    fill(made)
    (tmp_path / "mountinfo").write_text(f"1 2 0:3 / {made} rw - resctrl resctrl rw\n")
    monkeypatch.setattr(resctrl, "MOUNTINFO", str(tmp_path / "mountinfo"))
    mkdir, open_file = os.mkdir, os.open

    def fake_mkdir(path: str, mode: int) -> None:
        mkdir(path, mode)
        fill(Path(path))

    monkeypatch.setattr(posix, "mkdir", fake_mkdir)
    monkeypatch.setattr(posix, "rmdir", shutil.rmtree)
    monkeypatch.setattr(posix, "open", lambda path, flags: open_file(path, flags | os.O_APPEND))
    return made


def make(settings: dict[str, Any], name: str = "box") -> resctrl.Group:
    group = resctrl.plan(settings, name)
    group.create(settings)
    return group


def test_without_clos_id_the_group_is_the_containers_own(top: Path) -> None:
    group = make({"memBwSchema": MB, "l3CacheSchema": L3, "schemata": ["L2:0=f"]})
    assert (top / "box/schemata").read_text() == f"{L3}\n{MB}\nL2:0=f\n"  # in this order
    group.assign(17)
    assert (top / "box/tasks").read_text() == "17"
    resctrl.remove(group.record())
    assert not (top / "box").exists()


def test_a_group_of_that_name_that_somebody_made_is_left_alone(top: Path) -> None:
    (top / "box").mkdir()
    with pytest.raises(ConfigError, match="is there already, and not this container's"):
        make({"l3CacheSchema": L3})
    assert (top / "box").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_shared_group_outlives_the_container(top: Path, exists: bool) -> None:
    if exists:
        (top / "gold").mkdir()
        fill(top / "gold")
        (top / "gold/schemata").write_text("    L3:1=01f;0=7F0\n    MB:0=20;1=70\n")
    group = make({"closID": "gold", "l3CacheSchema": L3, "memBwSchema": MB})
    group.assign(17)
    resctrl.remove(group.record())
    assert (top / "gold/tasks").read_text() == "17"
    assert L3 in (top / "gold/schemata").read_text()


def test_a_shared_group_with_other_schemata_is_refused(top: Path) -> None:
    (top / "gold").mkdir()
    fill(top / "gold")
    (top / "gold/schemata").write_text("L3:0=7ff;1=7ff\n")
    with pytest.raises(ConfigError, match=f"its schemata have no {L3}"):
        make({"closID": "gold", "l3CacheSchema": L3})


def test_a_shared_group_without_schemata_must_be_there(top: Path) -> None:
    with pytest.raises(ConfigError, match="/linux/intelRdt/closID: there is no group"):
        make({"closID": "gold"})
    (top / "gold").mkdir()
    fill(top / "gold")
    make({"closID": "gold"}).assign(18)
    assert (top / "gold/tasks").read_text() == "18"
    assert (top / "gold/schemata").read_text() == ""


def test_a_slash_is_the_default_group(top: Path) -> None:
    group = make({"closID": "/"})
    group.assign(19)
    assert (top / "tasks").read_text() == "19"
    resctrl.remove(group.record())
    assert top.exists()


def test_monitoring_has_a_group_of_its_own_which_goes(top: Path) -> None:
    group = make({"closID": "/", "enableMonitoring": True})
    group.assign(20)
    assert (top / "mon_groups/box/tasks").read_text() == "20"
    resctrl.remove(group.record())
    assert not (top / "mon_groups/box").exists()
    resctrl.remove(group.record())  # a second time, as after a crash


@pytest.mark.parametrize("name", ["a/b", "..", "info", "mon_groups"])
def test_what_is_no_name_of_a_group(top: Path, name: str) -> None:
    assert top.exists()
    with pytest.raises(ConfigError, match="is no name of a group"):
        resctrl.plan({"closID": name}, "box")


def test_a_shared_group_that_an_error_made_is_removed(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, _text: str) -> None:
        raise KernelError(f"write {path}", "Invalid argument")

    monkeypatch.setattr(resctrl, "_write", refuse)
    with pytest.raises(KernelError, match="Invalid argument"):
        make({"closID": "shared", "memBwSchema": MB, "enableMonitoring": True})
    assert not (top / "shared").exists()


def test_what_the_kernel_says_is_in_the_message(top: Path) -> None:
    (top / "info").mkdir()
    (top / "info/last_cmd_status").write_text("Mask out of range\n")
    group = make({"closID": "/"})
    (top / "tasks").unlink()
    with pytest.raises(KernelError, match=r"write 5 to .*tasks \(Mask out of range\)"):
        group.assign(5)


def test_a_host_without_resctrl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text("1 2 0:3 / /x rw - tmpfs resctrl rw\n")
    monkeypatch.setattr(resctrl, "MOUNTINFO", str(tmp_path / "mountinfo"))
    with pytest.raises(ConfigError, match="/linux/intelRdt: this host has no resctrl"):
        resctrl.plan({"closID": "/"}, "box")


def write(top: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{text}\n")


def events(tmp_path: Path, record: Any) -> Any:
    entry = Entry("box", str(tmp_path))
    entry.state["cgroup"] = {"driver": "disabled", "rootless": False}
    entry.state["resctrl"] = record
    return statistics.stats(entry)["data"]["intel_rdt"]


def test_events_tell_of_the_group_in_the_words_of_runc(top: Path, tmp_path: Path) -> None:
    group = make({"closID": "gold", "l3CacheSchema": L3, "enableMonitoring": True})
    write(top, {
        "info/L3/cbm_mask": "7ff", "info/L3/min_cbm_bits": "1", "info/L3/num_closids": "16",
        "info/MB/bandwidth_gran": "10", "info/MB/delay_linear": "1", "info/MB/min_bandwidth": "10",
        "schemata": "    MB:0=100;1=100\n    L3:0=7ff;1=7ff", "gold/schemata": f"{L3}\n    {MB}",
        "gold/mon_data/mon_L3_00/llc_occupancy": "99",
        "gold/mon_groups/box/mon_data/mon_L3_01/llc_occupancy": "20",
        "gold/mon_groups/box/mon_data/mon_L3_00/llc_occupancy": "10",
        "gold/mon_groups/box/mon_data/mon_L3_00/mbm_total_bytes": "300",
        "gold/mon_groups/box/mon_data/mon_L3_00/mbm_local_bytes": "200",
        "gold/mon_groups/box/mon_data/mon_L3_01/mbm_total_bytes": "Unavailable",
        "gold/mon_groups/box/mon_data/mon_L3_01/mbm_local_bytes": "1",
    })  # fmt: skip
    assert events(tmp_path, group.record()) == {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": L3,
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": MB,
        "mbm_stats": [{"mbm_total_bytes": 300, "mbm_local_bytes": 200}],
        "cmt_stats": [{"llc_occupancy": 10}, {"llc_occupancy": 20}],
    }


def test_events_are_silent_where_the_processor_or_the_container_has_nothing(
    top: Path, tmp_path: Path
) -> None:
    assert events(tmp_path, make({}).record()) == {}
    assert events(tmp_path, None) == {}
    assert top.exists()
