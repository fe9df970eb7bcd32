"""Removing a container's cgroup without a driver (plain directories stand for cgroups)."""

from __future__ import annotations

from pathlib import Path

from pyrun.linux.cgroups import places, v1


def directories(tmp_path: Path) -> dict[str, str]:
    paths = {name: tmp_path / name for name in ("cpu", "pids", "memory")}
    for path in paths.values():
        path.mkdir()
    return {name: str(path) for name, path in paths.items()}


def test_empty_directories_are_removed_and_those_that_are_gone_do_not_matter(
    tmp_path: Path,
) -> None:
    paths = directories(tmp_path)
    (tmp_path / "memory").rmdir()
    assert places.remove_empty({**paths, "cpuacct": paths["cpu"]})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_removed_while_the_one_that_tells_of_processes_resists(tmp_path: Path) -> None:
    paths = directories(tmp_path)
    (tmp_path / "pids" / "below").mkdir()
    assert not places.remove_empty(paths)
    assert {path.name for path in tmp_path.iterdir()} == {"cpu", "pids", "memory"}


def test_the_cgroup2_tells_best_of_processes_and_any_other_is_better_than_none() -> None:
    assert places.of_processes({"pids": "/p", "": "/unified"}) == "/unified"
    assert places.of_processes({"hugetlb": "/h"}) == "/h"
    assert places.of_processes({}) == ""


def test_the_record_of_somebody_elses_cgroup_names_nothing_to_remove(tmp_path: Path) -> None:
    """Another container may have entered it since the record was written first."""
    manager = v1.Manager("v1", directories(tmp_path))
    assert manager.record()["paths"] == manager.paths
    manager.foreign = True
    assert manager.record()["paths"] == {}
