"""The cgroup managers on this machine's hierarchies, each layout in a mount namespace of its own.

A script does the work, because the layout is decided by what its mount namespace shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.machine import with_cgroup_layout

SOURCES = Path(__file__).parents[3] / "runtime/src"

HEADER = """
import json, os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
from pyrun.errors import PyrunError
from pyrun.linux.cgroups import select
from pyrun.linux.cgroups.hierarchy import read_file, write_file

name, path = sys.argv[2:4]
group = select.manager(path, name)

def sleeper():
    process = subprocess.Popen(["sleep", "1000"])
    group.join(process.pid)
    return process

def refused(resources):
    try:
        group.create(resources)
    except PyrunError as error:
        return [type(error).__name__, str(error)]
    return None

def files(controller, *names):
    return {one: read_file(group.paths[controller] + "/" + one).strip() for one in names}

def report(**values):
    print(json.dumps(values))
"""


def directories(name: str) -> list[str]:
    top = Path("/sys/fs/cgroup")
    return [str(path) for path in [*top.glob(f"*/{name}"), *top.glob(f"{name}")]]


@pytest.fixture
def name() -> Iterator[str]:
    """A cgroup of this test, gone at its end in any case."""
    chosen = f"pyrun-test-{uuid.uuid4().hex[:12]}"
    yield chosen
    left = directories(chosen)
    for directory in left:
        for pid in Path(directory, "cgroup.procs").read_text().split():
            os.kill(int(pid), 9)
        subprocess.run(["rmdir", directory], check=False)
    assert left == []


def run(layout: str, name: str, body: str, path: str = "") -> dict[str, Any]:
    """The report of a script in one cgroup layout."""
    script = HEADER + "try:\n" + "".join(f"    {line}\n" for line in body.strip().splitlines())
    script += "finally:\n    group.delete()\n"
    command = [sys.executable, "-I", "-c", script, str(SOURCES), name]
    # Absolute, so that nothing depends on what cgroup the tests run in.
    command.append(path or f"/{name}")
    done = subprocess.run(
        with_cgroup_layout(layout, command), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert directories(name) == []
    return result


V1_LAYOUTS = [
    pytest.param("host", marks=pytest.mark.needs("root", "hybrid", "cgroup_memory")),
    pytest.param("v1", marks=pytest.mark.needs("root", "cgroup_memory")),
]
ALL_LAYOUTS = [*V1_LAYOUTS, pytest.param("v2", marks=pytest.mark.needs("root", "v2_view"))]


@pytest.mark.parametrize("layout", V1_LAYOUTS)
def test_each_limit_of_an_ordinary_config_reaches_its_file(layout: str, name: str) -> None:
    body = """
memory = {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20}
cpu = {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000, "cpus": "0", "mems": "0"}
group.create({"memory": memory, "cpu": cpu, "pids": {"limit": 16}})
report(
    layout=group.layout,
    memory=files("memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
                 "memory.soft_limit_in_bytes"),
    cpu=files("cpu", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"),
    cpuset=files("cpuset", "cpuset.cpus", "cpuset.mems"),
    pids=files("pids", "pids.max"),
)
"""
    assert run(layout, name, body) == {
        "layout": {"host": "hybrid", "v1": "v1"}[layout],
        "memory": {
            "memory.limit_in_bytes": str(64 << 20),
            "memory.memsw.limit_in_bytes": str(128 << 20),
            "memory.soft_limit_in_bytes": str(32 << 20),
        },
        "cpu": {
            "cpu.shares": "512",
            "cpu.cfs_quota_us": "50000",
            "cpu.cfs_period_us": "100000",
            "cpu.cfs_burst_us": "1000",
        },
        "cpuset": {"cpuset.cpus": "0", "cpuset.mems": "0"},
        "pids": {"pids.max": "16"},
    }


@pytest.mark.needs("root", "hybrid", "cgroup_memory")
def test_limits_that_depend_on_each_other_go_up_and_down(name: str) -> None:
    """The kernel refuses memory above memory+swap, so the order depends on the old values."""
    body = """
seen = []
group.create({})
for size in (64 << 20, 256 << 20, 16 << 20, -1):
    group.set({"memory": {"limit": size, "swap": size}})
    seen.append(int(files("memory", "memory.limit_in_bytes")["memory.limit_in_bytes"]))
for quota, period in ((50000, 100000), (900000, 1000000), (2000, 5000)):
    group.set({"cpu": {"quota": quota, "period": period}})
    seen.append(int(files("cpu", "cpu.cfs_quota_us")["cpu.cfs_quota_us"]))
report(seen=seen)
"""
    seen = run("host", name, body)["seen"]
    assert seen[:3] == [64 << 20, 256 << 20, 16 << 20]
    assert seen[3] > 1 << 60
    assert seen[4:] == [50000, 900000, 2000]


@pytest.mark.needs("root", "hybrid")
def test_a_controller_that_only_cgroup2_has_is_used_on_a_hybrid_host(name: str) -> None:
    body = """
group.create({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
report(**files("", "hugetlb.2MB.max"))
"""
    if "hugetlb" not in Path("/sys/fs/cgroup/unified/cgroup.controllers").read_text():
        pytest.skip("cgroup2 has no hugetlb here")
    assert run("host", name, body) == {"hugetlb.2MB.max": str(4 << 20)}


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_devices_are_denied_but_for_the_defaults_and_the_rules(layout: str, name: str) -> None:
    body = """
allow = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
def opens(path, mode):
    # A process of the cgroup tries, for this one is outside of it.
    script = "read go; exec 3%s%s" % (mode, path)
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    group.join(process.pid)
    process.communicate(b"\\n")
    return process.returncode == 0
group.create({"devices": [{"allow": False, "access": "rwm"}]})
before = [opens("/dev/null", ">"), opens("/dev/kmsg", "<")]
group.set({"devices": [{"allow": False, "access": "rwm"}, allow]})
after = [opens("/dev/kmsg", "<"), opens("/dev/kmsg", ">")]
group.set({"devices": [{"allow": True, "access": "rwm"}]})
report(before=before, after=after, all=opens("/dev/kmsg", ">"))
"""
    expected = {"before": [True, False], "after": [True, False], "all": True}
    assert run(layout, name, body) == expected


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_processes_are_listed_frozen_thawed_and_killed(layout: str, name: str) -> None:
    body = """
from pyrun.container import status, store
group.create({})
entry = store.Entry("one", "/nowhere")
entry.state = {"cgroup": group.record()}
first, second = sleeper(), sleeper()
listed = group.procs() == sorted([first.pid, second.pid])
group.freeze()
frozen = status.is_paused(entry)
group.thaw()
thawed = not status.is_paused(entry)
group.kill_all(signal.SIGTERM)
codes = [first.wait(), second.wait()]
third = sleeper()
again = select.from_record(json.loads(json.dumps(group.record())))
again.kill_all()
report(listed=listed, frozen=frozen, thawed=thawed, codes=[*codes, third.wait()])
"""
    assert run(layout, name, body) == {
        "listed": True,
        "frozen": True,
        "thawed": True,
        "codes": [-15, -15, -9],
    }


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_delete_ends_what_is_left_even_when_frozen_and_nested(layout: str, name: str) -> None:
    body = """
group.create({})
process = sleeper()
for directory in group.directories():
    os.mkdir(directory + "/inner")
    if "cpuset" in directory:
        for one in ("cpuset.cpus", "cpuset.mems"):
            write_file(directory + "/inner/" + one, read_file(directory + "/" + one).strip())
inner = subprocess.Popen(["sleep", "1000"])
group.join(inner.pid, "inner")
group.freeze()
group.delete()
group.delete()  # a second time is no error
left = [one for one in group.directories() if os.path.exists(one)]
report(codes=[process.wait(), inner.wait()], left=left, procs=group.procs())
"""
    assert run(layout, name, body) == {"codes": [-9, -9], "left": [], "procs": []}


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_a_cgroup_with_processes_is_refused_and_left_alone(layout: str, name: str) -> None:
    body = """
group.create({})
process = sleeper()
error = refused({})
group.delete()  # whoever cleans up after the refusal must not end the others
alive = process.poll() is None
try:
    select.manager(path, name)
    second = None
except PyrunError as caught:
    second = str(caught)
group.foreign = False
report(error=error, alive=alive, same=second == error[1])
"""
    result = run(layout, name, body)
    assert result["alive"]
    assert result["same"]
    assert result["error"][0] == "KernelError"
    assert "has processes already" in result["error"][1]


@pytest.mark.needs("root", "v2_view")
def test_in_cgroup2_a_missing_controller_is_named_with_its_limit(name: str) -> None:
    body = """
report(error=refused({"rdma": {"mlx5_1": {"hcaHandles": 1}}}), left=os.path.exists(group.paths[""]))
"""
    kind, message = run("v2", name, body)["error"]
    assert kind == "ConfigError"
    assert "/linux/resources/rdma/mlx5_1: needs the cgroup controller rdma" in message


@pytest.mark.parametrize("layout", V1_LAYOUTS)
@pytest.mark.parametrize(
    ("resources", "kind", "words"),
    [
        ({"network": {"classID": 1}}, "ConfigError", "/network/classID: needs the cgroup contr"),
        ({"cpu": {"cpus": "4000"}}, "KernelError", "/cpu/cpus: write 4000 to /sys/fs/cgroup/cpus"),
        ({"cpu": {"shares": 2, "burst": 2**60}}, "KernelError", "/cpu/burst: write"),
        ({"unified": {"nope.max": "1"}}, "ConfigError", "/unified"),
        (
            {"blockIO": {"leafWeight": 500}},
            "ConfigError",
            "/blockIO/leafWeight: needs the file blkio.leaf_weight",
        ),
    ],
)
def test_a_refused_limit_leaves_nothing_behind(
    layout: str, name: str, resources: dict[str, Any], kind: str, words: str
) -> None:
    body = f"""
error = refused({resources!r})
report(error=error, left=[one for one in group.directories() if os.path.exists(one)])
"""
    result = run(layout, name, body)
    assert result["left"] == []
    assert result["error"][0] == kind
    assert words in result["error"][1]


@pytest.mark.needs("root", "hybrid", "cgroup_memory")
def test_check_before_update_refuses_what_is_in_use(name: str) -> None:
    body = """
group.create({})
process = subprocess.Popen(
    [sys.executable, "-c", "input(); b = bytearray(32 << 20); print(1, flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
group.join(process.pid)
process.stdin.write(b"\\n")
process.stdin.flush()
process.stdout.readline()
try:
    group.set({"memory": {"limit": 1 << 20, "checkBeforeUpdate": True}})
    error = ""
except PyrunError as caught:
    error = str(caught)
process.communicate(b"\\n")
report(error=error, code=process.returncode)
"""
    result = run("host", name, body)
    assert "/linux/resources/memory/limit: 1048576 is below the" in result["error"]
    assert result["code"] == 0


@pytest.mark.needs("root", "v2_view")
def test_a_process_is_born_in_cgroup2(name: str) -> None:
    body = """
from pyrun.container import fork

group.create({})
reading, writing = os.pipe()


def child():
    with open("/proc/self/cgroup") as own:
        os.write(writing, own.read().encode())
    os._exit(0)


pid, cloned = fork.fork(group.clone_fd(), child)
os.waitpid(pid, 0)
report(cloned=cloned, own=os.read(reading, 4096).decode(), path=group.paths[""])
"""
    result = run("v2", name, body)
    assert result["cloned"]
    unified = [line for line in result["own"].splitlines() if line.startswith("0::")]
    assert unified == [f"0::{result['path'].removeprefix('/sys/fs/cgroup')}"]


@pytest.mark.needs("root", "v2_view")
def test_exec_follows_a_container_that_made_its_cgroup_an_inner_node(name: str) -> None:
    """With a controller enabled below it, a cgroup takes no process (systemd in a container)."""
    body = """
group.create({})
first = sleeper()
top = group.paths[""]
os.mkdir(top + "/init.scope")
write_file(top + "/init.scope/cgroup.procs", str(first.pid))
write_file(top + "/cgroup.subtree_control", "+hugetlb")
second = subprocess.Popen(["sleep", "1000"])
group.join(second.pid, beside=first.pid)
listed = sorted(int(pid) for pid in read_file(top + "/init.scope/cgroup.procs").split())
report(same=listed == sorted([first.pid, second.pid]))
"""
    controllers = ["cat", "/sys/fs/cgroup/cgroup.controllers"]
    done = subprocess.run(with_cgroup_layout("v2", controllers), capture_output=True, check=True)
    if b"hugetlb" not in done.stdout:
        pytest.skip("cgroup2 has no hugetlb here")
    assert run("v2", name, body) == {"same": True}


LIMITS = """
memory = {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20}
cpu = {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000}
unified = {"memory.high": "62914560"}
group.create({"memory": memory, "cpu": cpu, "pids": {"limit": 16}, "unified": unified})
process = sleeper()
names = ["memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.max", "cpu.max.burst",
         "cpu.weight", "pids.max"]
"""
LIMITS_IN_V2 = {
    "memory.max": str(64 << 20),
    "memory.swap.max": str(64 << 20),
    "memory.low": str(32 << 20),
    "memory.high": "62914560",
    "cpu.max": "50000 100000",
    "cpu.max.burst": "1000",
    "cpu.weight": "59",
    "pids.max": "16",
}


@pytest.mark.needs("root", "cgroup2_limits")
def test_each_limit_of_an_ordinary_config_reaches_its_file_in_cgroup2(name: str) -> None:
    body = LIMITS + 'report(**files("", *names))\n'
    assert run("host", name, body) == LIMITS_IN_V2


@pytest.mark.needs("root", "cgroup2_limits")
def test_controllers_are_enabled_all_the_way_down(name: str) -> None:
    body = """
group.create({"pids": {"limit": 5}})
report(**files("", "pids.max"))
group.delete()  # what is above it stays, as with runc; it belongs to whoever chose the path
for _ in range(2):
    path = os.path.dirname(path)
    os.rmdir("/sys/fs/cgroup" + path)
"""
    assert run("host", name, body, path=f"/{name}/a/b") == {"pids.max": "5"}


@pytest.mark.needs("root", "cgroup2_limits")
def test_a_cgroup_with_processes_never_becomes_a_threaded_domain(name: str) -> None:
    """pids could be enabled above a process; the cgroups below would be of no use then."""
    body = """
above = os.path.dirname("/sys/fs/cgroup" + path)
os.mkdir(above)
process = subprocess.Popen(["sleep", "1000"])
write_file(above + "/cgroup.procs", str(process.pid))
error = refused({"pids": {"limit": 5}})
kinds = [read_file(above + "/" + one).strip() for one in ("cgroup.type", "cgroup.subtree_control")]
group.create({})
group.delete()
process.kill()
process.wait()
os.rmdir(above)
report(error=error, kinds=kinds)
"""
    result = run("host", name, body, path=f"/{name}/inner")
    assert result["error"][0] == "ConfigError"
    assert "/linux/resources/pids/limit: needs the cgroup controller pids" in result["error"][1]
    assert result["kinds"] == ["domain", ""]


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_a_user_without_delegation_goes_without_a_cgroup_but_gets_no_limit(
    layout: str, name: str
) -> None:
    body = """
from pyrun.linux.cgroups import devices, limits_v1, limits_v2, v1, v2  # before losing the right
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
group = select.manager("", name, rootless=True)
group.create({"devices": [{"allow": False, "access": "rwm"}]})
without = [group.directories(), group.procs()]
group.join(os.getpid())
group = select.manager("", name, rootless=True)
report(without=without, error=refused({"pids": {"limit": 5}}))
"""
    result = run(layout, name, body)
    assert result["without"] == [[], []]
    assert result["error"] == [
        "ConfigError",
        "config.json: /linux/resources/pids/limit: needs the cgroup controller pids, and this user"
        " may not make cgroups",
    ]
