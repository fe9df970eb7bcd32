"""A container that the kernel kills for memory: by an event of v1, by memory.events of v2."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyconmon import loop, oom
from support.monitors import Container
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "runc", "busybox", "memory_limit")

Make = Callable[..., Container]
GREEDY = "x=a; while :; do x=$x$x; done"
V1 = Path("/sys/fs/cgroup/memory")


def limited(make: Make, script: str) -> Container:
    made = make(["sh", "-c", f"read go; {script}"])
    path = made.bundle / "config.json"
    config = json.loads(path.read_text())
    config["linux"]["resources"]["memory"] = {"limit": 8 << 20, "swap": 8 << 20}
    path.write_text(json.dumps(config))
    made.create("-i", "--leave-stdin-open")
    made.start()
    made.attach().send(b"go\n")
    return made


def test_memory_kill_is_told_by_the_oom_file(make: Make) -> None:
    made = limited(make, GREEDY)
    assert made.wait() == "137"
    made.wait_for_monitor()
    assert (made.persist_dir / "oom").exists()
    if made.has_record:
        assert (made.bundle / "oom").exists(), "conmon writes it to its working directory"
        record = made.record()
        assert record["oomKilled"] is True
        assert record["cause"] == "oom"
        assert 4 << 20 < record["peakMemoryBytes"] <= 8 << 20


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_child_that_is_killed_for_memory_is_told_while_the_container_lives(make: Make) -> None:
    """conmon 2.1.6 does not see it on v2."""
    made = limited(make, f"sh -c '{GREEDY}'; read on; exit 3")
    wait_for((made.persist_dir / "oom").exists, "the oom file")
    assert not made.exit_file.exists()
    made.attach().send(b"on\n")
    assert made.wait() == "3"
    assert made.record()["cause"] == "exit"
    assert made.record()["oomKilled"] is True


@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_kill_is_told_when_the_monitor_has_become_small(make: Make) -> None:
    script = f"until [ -e /tmp/1 ]; do :; done; sh -c '{GREEDY}'; "
    script += f"until [ -e /tmp/2 ]; do :; done; {GREEDY}"
    made = limited(make, script)
    for client in made.clients:
        client.close()
    wait_for(lambda: made.is_resident, "the resident program")
    before = made.program
    (made.bundle / "rootfs/tmp/1").write_text("")
    wait_for((made.persist_dir / "oom").exists, "the oom file of a killed child")
    assert not made.exit_file.exists()
    wait_for(lambda: made.program != before, "the resident program, after the event")
    (made.bundle / "rootfs/tmp/2").write_text("")
    assert made.wait() == "137"
    made.wait_for_monitor()
    record = made.record()
    assert (record["cause"], record["oomKilled"], record["signal"]) == ("oom", True, 9)


@pytest.fixture
def v1_cgroup() -> Iterator[Path]:
    if not (V1 / "cgroup.event_control").exists():
        pytest.skip("no memory controller of cgroup v1")
    path = V1 / f"pyconmon-test-{os.getpid()}"
    path.mkdir()
    yield path
    if path.exists():
        path.rmdir()


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("monitor", ["pyconmon"], indirect=True)
def test_a_kill_just_before_the_cgroup_is_removed_is_told(
    v1_cgroup: Path, monitor: str, killed: bool
) -> None:
    """The removal is an event like a kill; a late monitor finds the files gone."""
    assert monitor
    kills: list[bool] = []
    the_loop = loop.Loop()
    watch = oom.WatchV1(the_loop, str(v1_cgroup), lambda: kills.append(True))
    if killed:
        os.eventfd_write(watch.state()[0], 1)
    v1_cgroup.rmdir()
    watch.check()
    assert kills == [True] * killed


def test_without_a_kill_there_is_no_oom_file(make: Make) -> None:
    made = limited(make, "exit 0")
    assert made.wait() == "0"
    made.wait_for_monitor()
    assert not (made.persist_dir / "oom").exists()
    assert not (made.bundle / "oom").exists()
