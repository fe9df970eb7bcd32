"""update: limits of a running container, in every layout that can have them here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")
MIB = 1 << 20
V1 = pytest.mark.needs("cgroup_memory", "cgroup_cpu", "cgroup_pids")
V2 = pytest.mark.needs("cgroup2_limits")
# options, and the files of v1 and of v2 with what they hold then
LIMITS = [
    (["--memory", "64m"], "memory/memory.limit_in_bytes", "memory.max", str(64 * MIB)),
    (["--memory-reservation", "8m"], "memory/memory.soft_limit_in_bytes", "memory.low",
     str(8 * MIB)),
    (["--pids-limit", "50"], "pids/pids.max", "pids.max", "50"),
    (["--cpu-share", "512"], "cpu/cpu.shares", "", "512"),
    (["--cpu-quota", "20000"], "cpu/cpu.cfs_quota_us", "", "20000"),
    (["--cpu-period", "50000"], "cpu/cpu.cfs_period_us", "", "50000"),
    (["--cpuset-cpus", "0"], "cpuset/cpuset.cpus", "cpuset.cpus", "0"),
    (["--cpuset-mems", "0"], "cpuset/cpuset.mems", "cpuset.mems", "0"),
    (["--cpu-quota", "20000", "--cpu-period", "40000"], "", "cpu.max", "20000 40000"),
    (["--cpu-idle", "1"], "cpu/cpu.idle", "cpu.idle", "1"),
]  # fmt: skip


def running(pyrun: Runtime, bundle: Bundle, **resources: object) -> str:
    bundle.linux["resources"].update(resources)
    bundle.shell("sleep 1000")
    return pyrun.start(bundle)


def limit(pyrun: Runtime, name: str, file: str) -> str:
    """A file of the container's cgroup; ``controller/file`` in v1."""
    record = json.loads((pyrun.root / name / "state.json").read_text())["cgroup"]
    controller, _, last = file.rpartition("/")
    return Path(record["paths"][controller], last).read_text().strip()


def has_file(pyrun: Runtime, name: str, file: str) -> bool:
    """Whether this machine has the controller; cpuset is an option of the kernel."""
    try:
        limit(pyrun, name, file)
    except FileNotFoundError:
        assert "cpuset" in file
        return False
    return True


def saved(pyrun: Runtime, name: str) -> dict[str, object]:
    config = json.loads((pyrun.root / name / "config.json").read_text())
    found: dict[str, object] = config["linux"]["resources"]
    return found


@pytest.mark.parametrize(
    "version", [pytest.param(1, marks=V1, id="v1"), pytest.param(2, marks=V2, id="v2")]
)
def test_each_option_changes_its_file(pyrun: Runtime, bundle: Bundle, version: int) -> None:
    name = running(pyrun, bundle)
    for options, *files, value in LIMITS:
        if files[version - 1] and has_file(pyrun, name, files[version - 1]):
            done = pyrun.call("update", *options, name)
            assert (done.returncode, done.stderr) == (0, ""), options
            assert limit(pyrun, name, files[version - 1]) == value, options


@V1
def test_limits_come_from_a_file_or_standard_input(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    name = running(pyrun, bundle, memory={"limit": 32 * MIB})
    path = tmp_path / "resources.json"
    path.write_text(json.dumps({"memory": {"limit": 48 * MIB}, "pids": {"limit": 9}}))
    assert pyrun.call("update", "--resources", str(path), "--pids-limit", "1", name).returncode == 0
    assert limit(pyrun, name, "memory/memory.limit_in_bytes") == str(48 * MIB)
    assert limit(pyrun, name, "pids/pids.max") == "9"
    words = {"stdin": None, "input": '{"pids": {"limit": -1}}'}
    assert pyrun.call("update", "-r", "-", name, **words).returncode == 0
    assert limit(pyrun, name, "pids/pids.max") == "max"
    assert saved(pyrun, name)["memory"] == {"limit": 48 * MIB}
    assert saved(pyrun, name)["pids"] == {"limit": -1}


@V1
def test_memory_and_swap_go_up_and_down_together(pyrun: Runtime, bundle: Bundle) -> None:
    name = running(pyrun, bundle, memory={"limit": 32 * MIB})
    for options, value in ((["--memory", "128m", "--memory-swap", "256m"], 128 * MIB),
                           (["--memory", "64m", "--memory-swap", "64m"], 64 * MIB)):  # fmt: skip
        done = pyrun.call("update", *options, name)
        assert (done.returncode, done.stderr) == (0, "")
        assert limit(pyrun, name, "memory/memory.limit_in_bytes") == str(value)


@V1
def test_a_refused_limit_leaves_those_from_before(pyrun: Runtime, bundle: Bundle) -> None:
    name = running(pyrun, bundle, cpu={"shares": 300}, pids={"limit": 20})
    done = pyrun.call("update", "--cpu-share", "400", "--cpuset-cpus", "4000", name)
    assert (done.returncode, "/linux/resources/cpu/cpus" in done.stderr) == (1, True)
    assert limit(pyrun, name, "cpu/cpu.shares") == "300"
    assert saved(pyrun, name)["cpu"] == {"shares": 300}


@V2
def test_a_period_alone_keeps_the_quota_in_cgroup2(pyrun: Runtime, bundle: Bundle) -> None:
    name = running(pyrun, bundle, cpu={"quota": 20000, "period": 100000})
    assert pyrun.call("update", "--cpu-period", "50000", name).returncode == 0
    assert limit(pyrun, name, "cpu.max") == "20000 50000"
    assert pyrun.call("update", "--memory", "64m", "--memory-swap", "96m", name).returncode == 0
    assert pyrun.call("update", "--memory", "80m", name).returncode == 0
    assert limit(pyrun, name, "memory.swap.max") == str(16 * MIB)


@pytest.mark.needs("systemd")
def test_a_scope_of_systemd_keeps_an_updated_limit(
    pyrun_path: str, tmp_path: Path, bundle: Bundle
) -> None:
    with Runtime(pyrun_path, tmp_path / "state", "--systemd-cgroup") as pyrun:
        name = running(pyrun, bundle)
        assert pyrun.call("update", "--pids-limit", "33", name).returncode == 0
        assert limit(pyrun, name, "pids.max") == "33"


def test_a_limit_is_remembered_where_no_controller_is_needed(
    pyrun: Runtime, bundle: Bundle
) -> None:
    name = running(pyrun, bundle)
    rule = {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"}
    deny = {"allow": False, "access": "rwm"}
    done = pyrun.call(
        "update", "-r", "-", name, stdin=None, input=json.dumps({"devices": [deny, rule]})
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert saved(pyrun, name)["devices"] == [deny, rule]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--memory", "lots"], "--memory needs a number of bytes"),
        (["--cpu-quota", "x"], "--cpu-quota needs a number"),
        (["--cpu-quota", "10", "--cpu-burst", "20"], "/cpu/burst: is above quota"),
        (["--memory", "20m", "--memory-swap", "10m"], "/memory/swap"),
        (["--blkio-weight", "5000"], "/blockIO/weight"),
        (["--resources", "/nosuch"], "read resources: /nosuch"),
        (["--resources", "/etc/hostname"], "is not JSON"),
        (["--l3-cache-schema", "L3:0=f"], "--l3-cache-schema: this host has no resctrl"),
        (["--mem-bw-schema", "MB:0=50"], "--mem-bw-schema: this host has no resctrl"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    pyrun: Runtime, bundle: Bundle, options: list[str], problem: str
) -> None:
    name = running(pyrun, bundle)
    done = pyrun.call("update", *options, name)
    assert (done.returncode, problem in done.stderr) == (1, True), done.stderr


def test_a_stopped_container_is_not_updated(pyrun: Runtime, bundle: Bundle) -> None:
    name = pyrun.start(bundle)
    pyrun.wait_until_stopped(name)
    done = pyrun.call("update", "--pids-limit", "5", name)
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
