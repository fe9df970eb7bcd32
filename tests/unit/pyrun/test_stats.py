"""Files of cgroups as the statistics that runc prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrun.commands import events
from pyrun.commands.usage import UsageError
from pyrun.linux.cgroups import stats_v1, stats_v2


def fill(directory: Path, **files: str) -> str:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return str(directory)


def test_cgroup2_counts_in_the_units_of_v1(tmp_path: Path) -> None:
    top = fill(
        tmp_path,
        cpu__stat="usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 4\nthrottled_usec 6\n",
        cpu__pressure="some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n",
        memory__stat="anon 1\nfile 7\n", memory__current="100\n", memory__max="200\n",
        memory__peak="150\n", memory__swap__current="10\n", memory__swap__max="max\n",
        pids__current="3\n", pids__max="max\n",
        io__stat="8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5\n9:1\n",
    )  # fmt: skip
    found = stats_v2.read(top)
    assert found["cpu"] == {
        "usage": {"total": 5000, "kernel": 2000, "user": 3000},
        "throttling": {"throttledPeriods": 4, "throttledTime": 6000},
        "psi": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 9}},
    }
    assert found["memory"]["usage"] == {"limit": 200, "usage": 100, "max": 150, "failcnt": 0}
    unlimited = stats_v2.UNLIMITED
    assert found["memory"]["swap"] == {"limit": unlimited, "usage": 110, "failcnt": 0}
    assert found["memory"]["cache"] == 7
    assert found["pids"] == {"current": 3}
    assert found["blkio"]["ioServicedRecursive"] == [
        {"major": 8, "op": "Read", "value": 3}, {"major": 8, "op": "Write", "value": 4},
    ]  # fmt: skip


def test_a_controller_that_is_not_there_counts_nothing(tmp_path: Path) -> None:
    found = stats_v2.read(fill(tmp_path, cgroup__procs="1\n2\n"))
    assert found["pids"] == {"current": 2}
    assert found["memory"]["usage"] == {"limit": 0, "failcnt": 0}
    assert found["blkio"] == {}
    assert stats_v1.read({})["memory"] == {}


def test_block_devices_count_where_the_scheduler_does(tmp_path: Path) -> None:
    top = fill(
        tmp_path,
        blkio__throttle__io_serviced_recursive="8:0 Read 9\nTotal 9\n",
        blkio__bfq__io_serviced_recursive="8:0 Read 5\n8:0 Total 5\nTotal 5\n",
        blkio__bfq__sectors_recursive="8:0 7\n",
    )
    found = stats_v1.read({"blkio": top})["blkio"]
    assert found["ioServicedRecursive"] == [
        {"major": 8, "op": "Read", "value": 5}, {"major": 8, "op": "Total", "value": 5},
    ]  # fmt: skip
    assert found["sectorsRecursive"] == [{"major": 8, "value": 7}]


@pytest.mark.parametrize(("kib", "name"), [(64, "64KB"), (2048, "2MB"), (1 << 20, "1GB")])
def test_page_sizes_are_named_as_the_kernel_does(kib: int, name: str) -> None:
    assert stats_v2.page_size(kib) == name


@pytest.mark.parametrize(("word", "seconds"), [("5s", 5), ("1m30s", 90), ("250ms", 0.25)])
def test_a_time_is_read_as_go_programs_write_it(word: str, seconds: float) -> None:
    assert events.duration(word) == pytest.approx(seconds)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="--interval"):
        events.duration("5 s")
