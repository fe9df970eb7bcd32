"""events and ps: what a container uses, that its memory ran out, and its processes."""

from __future__ import annotations

import json
import os
import subprocess
from typing import IO, Any

import pytest

from support.bundle import Bundle
from support.runtime import InLayout, Runtime

pytestmark = pytest.mark.needs("root", "busybox")
MIB = 1 << 20
V1 = pytest.mark.needs("cgroup_memory", "cgroup_cpu", "cgroup_pids")
V2 = pytest.mark.needs("cgroup2_limits")
EITHER = pytest.mark.parametrize(
    "version", [pytest.param(1, marks=V1, id="v1"), pytest.param(2, marks=V2, id="v2")]
)


def stats(pyrun: Runtime, name: str) -> dict[str, Any]:
    done = pyrun.call("events", "--stats", name)
    assert (done.returncode, done.stderr) == (0, "")
    event = json.loads(done.stdout)
    assert (event["type"], event["id"]) == ("stats", name)
    found: dict[str, Any] = event["data"]
    return found


def test_statistics_have_every_section_in_every_layout(runtime: InLayout, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    data = stats(runtime, runtime.start(bundle))
    sections = "cpu cpuset memory pids blkio hugetlb intel_rdt network_interfaces"
    assert sorted(data) == sorted(sections.split())
    assert data["pids"]["current"] == 1
    assert data["cpu"]["usage"]["total"] > 0
    assert data["network_interfaces"] is None


@EITHER
def test_statistics_are_those_of_the_container(
    pyrun: Runtime, bundle: Bundle, version: int
) -> None:
    bundle.linux["resources"] |= {"memory": {"limit": 64 * MIB}, "pids": {"limit": 20}}
    bundle.shell("sleep 1000 & sleep 1000 & wait")
    name = pyrun.start(bundle)
    while stats(pyrun, name)["pids"]["current"] < 3:
        continue
    data = stats(pyrun, name)
    assert data["pids"] == {"current": 3, "limit": 20}
    memory = data["memory"]
    assert memory["usage"]["limit"] == 64 * MIB
    assert 0 < memory["usage"]["usage"] <= memory["usage"]["max"] < 64 * MIB
    assert memory["raw"]["rss" if version == 1 else "anon"] > 0
    usage = data["cpu"]["usage"]
    if version == 1:
        assert sum(usage["percpu"]) == pytest.approx(usage["total"], rel=0.5)
    assert {"kernel", "user"} <= set(usage)


def test_pressure_is_told_where_cgroup2_is(runtime: InLayout, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = runtime.start(bundle)
    paths = json.loads((runtime.root / name / "state.json").read_text())["cgroup"]["paths"]
    known = "" in paths and os.path.exists("/proc/pressure/cpu")
    data = stats(runtime, name)
    for section in ("cpu", "memory", "blkio"):
        assert ("psi" in data[section]) == known, section
        if known:
            assert set(data[section]["psi"]["some"]) == {"avg10", "avg60", "avg300", "total"}


def following(pyrun: Runtime, name: str) -> subprocess.Popen[str]:
    words = pyrun.command("events", "--interval", "50ms", name)
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def next_event(lines: IO[str] | None) -> dict[str, Any]:
    assert lines is not None
    found: dict[str, Any] = json.loads(lines.readline())
    return found


@pytest.mark.needs("memory_limit")
def test_memory_that_runs_out_is_an_event(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 16 * MIB}
    bundle.process["oomScoreAdj"] = 500  # whatever keeps the tests themselves alive
    bundle.shell("tail /dev/zero")
    name = pyrun.create(bundle)
    with following(pyrun, name) as events:
        assert next_event(events.stdout)["type"] == "stats"  # from here on it watches
        assert pyrun.call("start", name).returncode == 0
        output, errors = events.communicate(timeout=60)
    kinds = {json.loads(line)["type"] for line in output.splitlines()}
    assert ("oom" in kinds, events.returncode, errors) == (True, 0, "")


def test_events_end_with_the_container(runtime: InLayout, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = runtime.start(bundle)
    with following(runtime, name) as events:
        assert next_event(events.stdout)["type"] == "stats"
        assert runtime.call("kill", name, "KILL").returncode == 0
        output, errors = events.communicate(timeout=60)
    assert (events.returncode, errors, "oom" in output) == (0, "", False)
    refused = runtime.call("events", name)
    assert (refused.returncode, "not running" in refused.stderr) == (1, True)


@pytest.mark.parametrize("interval", ["0s", "-1s", "5", "s", "1x", "1.2.3s", "", "99999999h"])
def test_an_interval_must_be_a_time(pyrun: Runtime, interval: str) -> None:
    done = pyrun.call("events", "--interval", interval, "box")
    assert (done.returncode, "--interval needs a time" in done.stderr) == (1, True), interval


@pytest.mark.needs("ps")
def test_ps_shows_the_processes_of_the_container_only(runtime: InLayout, bundle: Bundle) -> None:
    bundle.shell("sleep 1111 & exec sleep 2222")
    name = runtime.start(bundle)
    while len(pids := json.loads(runtime.call("ps", "--format", "json", name).stdout)) < 2:
        continue
    assert runtime.state(name)["pid"] in pids
    head, *rows = runtime.call("ps", name).stdout.splitlines()
    assert head.split()[:3] == ["UID", "PID", "PPID"]
    assert sorted(int(row.split()[1]) for row in rows) == pids
    own = runtime.call("ps", name, "-o", "pid,args").stdout.splitlines()
    assert sorted(line.split()[-1] for line in own) == ["1111", "2222", "COMMAND"]


@pytest.mark.needs("ps")
def test_ps_says_what_is_wrong(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    for words, problem in (
        (["--format", "yaml", name], "table or json"),
        ([name, "-o", "args"], "no column PID"),
        ([name, "--nosuch"], "exit status 1"),
        (["nosuch"], "does not exist"),
    ):
        done = pyrun.call("ps", *words)
        assert (done.returncode, problem in done.stderr) == (1, True), words
    done = pyrun.call("ps", name, env={"PATH": "/nosuch"})
    assert (done.returncode, "install procps" in done.stderr) == (1, True)


def test_a_stopped_container_has_no_processes(pyrun: Runtime, bundle: Bundle) -> None:
    name = pyrun.start(bundle)
    pyrun.wait_until_stopped(name)
    assert json.loads(pyrun.call("ps", "-f", "json", name).stdout) == []
