"""Statistics and processes from cgroups' files, whatever the version."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyengine.cli.durations import go_duration
from pyengine.cli.sizes import binary
from pyengine.containers import processes
from pyengine.containers.cgroup_files import Cgroups
from pyengine.errors import ConfigError

ID = "f00d" * 16
OWN = f"/libpod_parent/libpod-{ID}"


def cgroups(tmp_path: Path, lines: list[str]) -> Cgroups:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text("\n".join(lines) + "\n")
    container: Any = SimpleNamespace(id=ID, pid=7)
    return Cgroups(container, str(tmp_path / "cgroup"), str(tmp_path / "proc"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_unified_hierarchy_counts_what_is_below(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    write(top / "cgroup.controllers", "cpu memory")
    write(top / OWN[1:] / "memory.current", "4096\n")
    write(top / OWN[1:] / "memory.max", "max\n")
    write(top / OWN[1:] / "cgroup.procs", "7\n")
    write(top / OWN[1:] / "inner/cgroup.procs", "9\n8\n")
    found = cgroups(tmp_path, [f"0::{OWN}/inner"])
    assert found.number("memory", "memory.current") == 4096
    assert found.number("memory", "memory.max") is None
    assert found.pids() == [7, 8, 9]


def test_each_hierarchy_of_v1_has_its_own_path(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    write(top / f"memory{OWN}/memory.usage_in_bytes", "8192")
    write(top / f"cpuacct{OWN}/cpuacct.stat", "user 3\nsystem 4\n")
    write(top / f"memory{OWN}/cgroup.procs", "7\n")
    lines = [f"4:memory:{OWN}", f"2:cpu,cpuacct:{OWN}", "1:pids:/", "0::/"]
    found = cgroups(tmp_path, lines)
    assert found.number("memory", "memory.usage_in_bytes") == 8192
    assert found.table("cpuacct", "cpuacct.stat") == {"user": 3, "system": 4}
    assert found.directory("pids") is None  # the host's own, not the container's
    assert found.pids() == [7]


def test_a_container_that_has_just_ended_uses_nothing(tmp_path: Path) -> None:
    container: Any = SimpleNamespace(id=ID, pid=7)
    found = Cgroups(container, str(tmp_path), str(tmp_path))
    assert (found.pids(), found.text("memory", "x"), found.table("cpu", "y")) == ([], "", {})


@pytest.mark.parametrize(
    ("count_ns", "expected"),
    [
        (0, "0s"),
        (7, "7ns"),
        (12_300, "12.3µs"),
        (283_057_727, "283.057727ms"),
        (5_776_427_127, "5.776427127s"),
        (65_500_000_000, "1m5.5s"),
        (3_600_000_000_000, "1h0m0s"),
    ],
)
def test_durations_are_gos(count_ns: int, expected: str) -> None:
    assert go_duration(count_ns) == expected


def test_sizes_in_powers_of_two() -> None:
    assert [binary(1), binary(335_872), binary(25_276_502_016)] == ["1B", "328KiB", "23.54GiB"]


def test_descriptors_are_podmans_and_those_of_ps() -> None:
    assert processes.headings(("PID", "%C", "hpid")) == ["PID", "%CPU", "HPID"]
    assert processes.headings(("pid", "-ef")) is None


def test_the_hosts_ps_shows_only_the_container() -> None:
    output = "USER PID CMD\nroot 1 init\nroot 42 sleep 1\nroot x y\n"
    assert processes.filter_ps(output, {42}) == ["USER PID CMD", "root 42 sleep 1"]
    with pytest.raises(ConfigError, match="no column PID"):
        processes.filter_ps("CMD\ninit\n", {1})
