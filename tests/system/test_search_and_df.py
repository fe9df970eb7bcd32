"""search and system df."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import images
from support.containers import IMAGE, ContainerRoot
from support.engine import EngineRoot
from support.images import Image, Layer
from support.registry import SmallRegistry, debian_registry, free_port

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.mark.needs("docker-registry")
def test_a_registry_without_search_lists_its_repositories(
    engine_root: EngineRoot, tmp_path: Path
) -> None:
    archive = images.oci_archive(tmp_path / "a.tar", {"x:1": images.busybox_image()})
    engine_root.ok("load", "-i", archive)
    with debian_registry(tmp_path) as host:
        for name in ("team/app:1", "team/app:2", "team/other:1"):
            engine_root.ok("push", "-q", "x:1", f"{host}/{name}")
        found = engine_root.ok("search", f"{host}/team").splitlines()
        assert [line.split()[0] for line in found] == [
            "NAME", f"{host}/team/app", f"{host}/team/other"
        ]  # fmt: skip
        one = engine_root.ok("search", "--format", "{{.Name}}", f"{host}/other")
        assert one == f"{host}/team/other\n"
        limited = engine_root.ok("search", "--limit", "1", "--format", "json", f"{host}/team")
        assert [row["Name"] for row in json.loads(limited)] == [f"{host}/team/app"]
        assert engine_root.ok("search", f"{host}/nothing") == ""
        tags = engine_root.ok("search", "--list-tags", f"{host}/team/app").splitlines()
        assert sorted(line.split()[1] for line in tags[1:]) == ["1", "2"]
        assert "name unknown" in engine_root.fails("search", "--list-tags", f"{host}/nothing")


def test_a_registry_with_search_tells_more(
    engine_root: EngineRoot, registry: SmallRegistry
) -> None:
    registry.faults.search = [
        {"name": "a/b", "description": "x" * 60, "star_count": 5, "is_official": True},
        {"name": "c", "description": "line\nline", "star_count": 1},
    ]
    rows = engine_root.ok("search", "--compatible", f"{registry.host}/b").splitlines()
    assert rows[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
    assert rows[1].split() == [f"{registry.host}/a/b", f"{'x' * 44}...", "5", "[OK]"]
    few = ["search", "--filter", "stars=3", "--format", "{{.Name}}", f"{registry.host}/b"]
    assert engine_root.ok(*few) == f"{registry.host}/a/b\n"
    assert "invalid filter" in engine_root.fails("search", "--filter", "x=1", "b")
    down = f"127.0.0.1:{free_port()}"
    assert f"pinging container registry {down}" in engine_root.fails("search", f"{down}/x")


def test_df_counts_each_layer_once(engine_root: EngineRoot, tmp_path: Path) -> None:
    assert [line.split()[-5:] for line in engine_root.ok("system", "df").splitlines()[1:2]] == [
        ["0", "0", "0B", "0B", "(0%)"]
    ]
    base = Layer().add("base", bytes(100_000)).tar()
    more = Layer().add("more", bytes(200_000)).tar()
    both = {"a:1": Image([base]), "b:1": Image([base, more])}
    engine_root.ok("load", "-i", images.docker_archive(tmp_path / "a.tar", both))
    listed = {
        row["Type"]: row for row in json.loads(engine_root.ok("system", "df", "--format", "json"))
    }
    assert listed["Images"]["Total"] == 2
    assert listed["Images"]["Size"] == len(base) + len(more) == listed["Images"]["Reclaimable"]
    verbose = engine_root.ok("system", "df", "-v").splitlines()
    rows = {line.split()[0]: line.split() for line in verbose if line.startswith("localhost/")}
    assert rows["localhost/a"][6] == rows["localhost/b"][6] == "102.4kB"  # shared
    assert rows["localhost/b"][-1] == "0"
    shown = engine_root.ok("system", "df", "--format", "{{.Type}} {{.Total}} {{.Active}}")
    assert shown.splitlines() == ["Images 2 0", "Containers 0 0", "Local Volumes 0 0"]
    assert "cannot combine" in engine_root.fails("system", "df", "-v", "--format", "json")


def test_df_counts_what_containers_and_volumes_hold(box: ContainerRoot) -> None:
    box.ok("run", "--name", "df-test", "-v", "df-volume:/v", IMAGE, "sh", "-c",
           "echo 12345 >/kept; echo 123 >/v/file")  # fmt: skip
    listed = {row["Type"]: row for row in json.loads(box.ok("system", "df", "--format", "json"))}
    assert listed["Images"]["Active"] == 1
    assert listed["Images"]["Reclaimable"] == 0
    assert listed["Containers"]["Size"] == listed["Containers"]["Reclaimable"] == 6
    assert (listed["Local Volumes"]["Active"], listed["Local Volumes"]["Size"]) == (1, 4)
    verbose = box.ok("system", "df", "-v")
    assert "df-test" in verbose
    assert "df-volume" in verbose
