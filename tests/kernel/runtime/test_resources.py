"""The rarer limits of ``linux.resources``: each reaches its file, or is refused by its name."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import InLayout, Runtime

pytestmark = pytest.mark.needs("root", "busybox")

DISK = next(
    (
        tuple(map(int, (path / "dev").read_text().split(":")))
        for path in sorted(Path("/sys/block").glob("*"))
        if not path.name.startswith("ram")
    ),
    (0, 0),
)


def directory(pid: int, controller: str) -> Path:
    """The container's cgroup in a v1 hierarchy, or in cgroup2 for an empty name."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            name = controller or "unified"
            top = Path("/sys/fs/cgroup", name if os.path.exists(f"/sys/fs/cgroup/{name}") else "")
            return top / path.lstrip("/")
    raise AssertionError(controller)


def created(pyrun: Runtime, bundle: Bundle, resources: dict[str, Any]) -> int:
    bundle.linux["resources"].update(resources)
    return int(pyrun.state(pyrun.create(bundle))["pid"])


THROTTLED = {"major": DISK[0], "minor": DISK[1], "rate": 1048576}
V1 = [
    ("cpu", {"cpu": {"idle": 1}}, "cpu.idle", "1"),
    ("cpu", {"cpu": {"quota": 50000, "burst": 20000}}, "cpu.cfs_burst_us", "20000"),
    ("cpu", {"cpu": {"realtimePeriod": 500000, "realtimeRuntime": 1000}}, "cpu.rt_period_us",
     "500000"),
    ("memory", {"memory": {"swappiness": 7}}, "memory.swappiness", "7"),
    ("memory", {"memory": {"disableOOMKiller": True}}, "memory.oom_control",
     "oom_kill_disable 1"),
    ("memory", {"memory": {"useHierarchy": True}}, "memory.use_hierarchy", "1"),
    ("blkio", {"blockIO": {"throttleReadBpsDevice": [THROTTLED]}},
     "blkio.throttle.read_bps_device", f"{DISK[0]}:{DISK[1]} 1048576"),
    ("blkio", {"blockIO": {"throttleWriteBpsDevice": [THROTTLED]}},
     "blkio.throttle.write_bps_device", f"{DISK[0]}:{DISK[1]} 1048576"),
    ("blkio", {"blockIO": {"throttleReadIOPSDevice": [THROTTLED]}},
     "blkio.throttle.read_iops_device", f"{DISK[0]}:{DISK[1]} 1048576"),
    ("blkio", {"blockIO": {"throttleWriteIOPSDevice": [THROTTLED]}},
     "blkio.throttle.write_iops_device", f"{DISK[0]}:{DISK[1]} 1048576"),
]  # fmt: skip


@pytest.mark.needs("cgroup_memory", "cgroup_cpu")
@pytest.mark.parametrize(("controller", "resources", "name", "line"), V1)
def test_a_limit_of_v1_reaches_its_file(
    pyrun: Runtime,
    bundle: Bundle,
    controller: str,
    resources: dict[str, Any],
    name: str,
    line: str,
) -> None:
    if not os.path.exists(f"/sys/fs/cgroup/{controller}"):
        pytest.skip(f"no v1 hierarchy of {controller}")
    if not Path(f"/sys/fs/cgroup/{controller}/{name}").exists() and name != "memory.oom_control":
        bundle.linux["resources"].update(resources)
        done = pyrun.run(bundle)
        assert (done.returncode, f"needs the file {name}" in done.stderr) == (1, True)
        return
    pid = created(pyrun, bundle, resources)
    assert line in (directory(pid, controller) / name).read_text().splitlines()


@pytest.mark.needs("cgroup_memory")
def test_a_limit_of_kernel_memory_that_is_none_is_told(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"].update(memory={"kernel": 1 << 26})
    if not Path("/sys/fs/cgroup/memory/memory.kmem.limit_in_bytes").exists():
        pytest.skip("this kernel does not have the file")
    done = pyrun.run(bundle)
    name = Path("/sys/fs/cgroup/memory", pyrun.ids[-1])
    assert (done.returncode, name.exists()) == (0, False)
    release = tuple(map(int, os.uname().release.split(".")[:2]))
    assert ("/linux/resources/memory/kernel: this kernel" in done.stderr) == (release >= (5, 16))


# What a weight, a class or a kernel limit needs is not in every kernel; no container goes without.
NAMED = [
    ({"blockIO": {"weight": 500}}, "/linux/resources/blockIO/weight: "),
    ({"blockIO": {"leafWeight": 500}}, "/linux/resources/blockIO/leafWeight: "),
    ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 20}]}},
     "/linux/resources/blockIO/weightDevice/0: "),
    ({"network": {"classID": 1048577}}, "/linux/resources/network/classID: "),
    ({"network": {"priorities": [{"name": "lo", "priority": 3}]}},
     "/linux/resources/network/priorities"),
    ({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 100}}}, "/linux/resources/rdma/mlx5_1: "),
    ({"memory": {"kernelTCP": 1 << 20}}, "/linux/resources/memory/kernelTCP: "),
    ({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, "/linux/resources/hugepageLimits/0: "),
    ({"unified": {"nosuch.file": "1"}}, "/linux/resources/unified"),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "words"), NAMED)
def test_a_limit_is_kept_or_refused_by_its_name(
    runtime: InLayout, bundle: Bundle, resources: dict[str, Any], words: str
) -> None:
    bundle.linux["resources"].update(resources)
    done = runtime.run(bundle)
    if done.returncode:
        assert words in done.stderr
        assert runtime.left(runtime.ids[-1]) == []
    else:
        kind = next(iter(resources))
        assert kind in ("blockIO", "network", "memory")  # this kernel has what it needs


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_of_no_more_processes_leaves_room_for_the_container(
    runtime: InLayout, bundle: Bundle, limit: int
) -> None:
    bundle.linux["resources"].update(pids={"limit": limit})
    bundle.shell("read line </proc/self/cgroup; echo first; (echo second); true")
    done = runtime.run(bundle)
    if "needs the cgroup controller pids" in done.stderr:
        pytest.skip("no hierarchy of this layout has pids")
    assert done.stdout.splitlines() == ["first"]
    assert "can't fork" in done.stderr


@pytest.fixture
def frozen() -> Iterator[str]:
    """The name of a cgroup in which everything stands still."""
    name = f"pyrun-test-frozen-{uuid.uuid4().hex[:8]}"
    for place, file, on, off in (
        ("freezer", "freezer.state", "FROZEN", "THAWED"),
        ("unified", "cgroup.freeze", "1", "0"),
        ("", "cgroup.freeze", "1", "0"),
    ):
        top = Path("/sys/fs/cgroup", place)
        if not (top / "cgroup.procs").exists():
            continue
        folder = top / name
        folder.mkdir()
        (folder / file).write_text(on)
        yield name
        (folder / file).write_text(off)
        folder.rmdir()
        return
    pytest.skip("no hierarchy can freeze")


@pytest.mark.parametrize("below", ["", "/inner"])
def test_a_cgroup_that_is_frozen_takes_no_container(
    pyrun: Runtime, bundle: Bundle, frozen: str, below: str
) -> None:
    bundle.linux["cgroupsPath"] = f"/{frozen}{below}"
    done = pyrun.run(bundle)
    assert (done.returncode, "it is frozen, or one above it is" in done.stderr) == (1, True)
    assert pyrun.left(pyrun.ids[-1]) == []


@pytest.mark.needs("cgroup2")
def test_files_of_cgroup2_itself_are_written_by_unified(pyrun: Runtime, bundle: Bundle) -> None:
    place = directory(created(pyrun, bundle, {"unified": {"cgroup.max.depth": "7"}}), "")
    assert (place / "cgroup.max.depth").read_text() == "7\n"


@pytest.mark.needs("cgroup2")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cgroup.freeze", "1", "it is frozen"),
        ("nosuch.file", "", "/linux/resources/unified/nosuch.file: "),
        ("cgroup.max.depth", "", "Invalid argument"),
    ],
)
def test_files_of_cgroup2_that_cannot_be_written_are_named(
    pyrun: Runtime, bundle: Bundle, name: str, value: str, words: str
) -> None:
    bundle.linux["resources"].update(unified={name: value})
    done = pyrun.run(bundle)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


@pytest.mark.needs("v2_view")
@pytest.mark.parametrize(
    ("options", "namespace", "owner"),
    [([], "cgroup", 1000), (["ro"], "cgroup", 0), ([], "", 0)],
)
def test_the_user_of_the_process_owns_a_cgroup_that_is_mounted_for_writing(
    pyrun_path: str,
    tmp_path: Path,
    bundle: Bundle,
    options: list[str],
    namespace: str,
    owner: int,
) -> None:
    bundle.change_mount("/sys/fs/cgroup", options=options)
    entries = [one for one in bundle.linux["namespaces"] if one["type"] != "cgroup"]
    bundle.linux["namespaces"] = entries + ([{"type": namespace}] if namespace else [])
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.shell("cd /sys/fs/cgroup; stat -c %u . cgroup.procs cgroup.max.depth")
    with InLayout(pyrun_path, tmp_path / "state", "v2") as runtime:
        assert runtime.output(bundle).split() == [str(owner), str(owner), "0"]


@pytest.mark.needs("cgroup2_limits")
def test_limits_of_cgroup2_reach_their_files(pyrun: Runtime, bundle: Bundle) -> None:
    resources = {
        "cpu": {"quota": 50000, "burst": 20000},
        "unified": {"memory.high": "1073741824", "cpu.weight": "77"},
        "pids": {"limit": -1},
    }
    place = directory(created(pyrun, bundle, resources), "")
    wanted = {"cpu.max.burst": "20000", "memory.high": "1073741824", "cpu.weight": "77"}
    wanted["pids.max"] = "max"
    assert {name: (place / name).read_text().strip() for name in wanted} == wanted


@pytest.mark.needs("cgroup2_limits")
def test_an_idle_container_has_no_weight_in_cgroup2(pyrun: Runtime, bundle: Bundle) -> None:
    place = directory(created(pyrun, bundle, {"cpu": {"idle": 1, "shares": 512}}), "")
    assert (place / "cpu.idle").read_text() == "1\n"


def test_a_weight_beside_idle_is_no_secret(pyrun: Runtime, bundle: Bundle) -> None:
    words = "/linux/resources/cpu/shares: has no effect while cpu/idle is set"
    bundle.linux["resources"]["cpu"] = {"idle": 1, "shares": 512}
    bundle.shell("true")
    done = pyrun.run(bundle)
    assert (done.returncode, words in done.stderr) == (0, True)
    name = pyrun.create(bundle)
    done = pyrun.call("update", "--cpu-idle", "0", "--cpu-share", "600", name)
    assert (done.returncode, done.stderr) == (0, "")
    done = pyrun.call("update", "--cpu-idle", "1", "--cpu-share", "700", name)
    assert (done.returncode, words in done.stderr) == (0, True)


@pytest.mark.needs("cgroup2_limits")
@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"swappiness": 5}}, "memory/swappiness"),
        ({"network": {"classID": 5}}, "network"),
    ],
)
def test_what_cgroup2_cannot_do_is_refused(
    pyrun: Runtime, bundle: Bundle, resources: dict[str, Any], pointer: str
) -> None:
    bundle.linux["resources"].update(resources)
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert f"/linux/resources/{pointer}" in done.stderr
    assert "has no equivalent in cgroup2" in done.stderr
